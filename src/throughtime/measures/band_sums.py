"""The sum of all weight terms in every band of lags.

The slopes and values of a step are the same for all sources, so that the vectors of a band's sources are summed first;
the terms are then one matrix product over many steps.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint import AtOnce, or_zero
from throughtime.compiled import add_by_band
from throughtime.measures.film import Film
from throughtime.measures.lag_bands import LagBands
from throughtime.measures.learned import Family, Learned
from throughtime.measures.sample_sums import SampleSums

# Steps whose rows are gathered before one matrix product a band takes them all, and how many numbers they may take.
STEPS_AT_ONCE = 32
NUMBERS_AT_ONCE = AtOnce(2**22, 2**24)


class BandSums:
    """By weight and band of lags, the sum of its terms, on a scale of the band.

    Args:
        film: The axes.
        family: The weights.
        bands: The bands.
        like: A state of the recurrence, (batch, hidden).
        by_sample: What the rows are handed on to, before the samples are added up.
    """

    def __init__(
        self, film: Film, family: Family, bands: LagBands, like: Tensor, by_sample: SampleSums | None = None
    ) -> None:
        self._vectors, self._bands = family.vectors, len(bands)
        self.ln_scale = torch.full((len(bands),), -torch.inf, dtype=torch.float64)
        shape = (len(bands), film.batch, len(family.vectors), like.shape[-1])
        self._rows = like.new_zeros(steps_at_once(math.prod(shape), like.is_cpu), *shape)
        self._row_scale = torch.full((len(self._rows), len(bands)), -torch.inf, dtype=torch.float64)
        self._steps: list[int] = []
        together: dict[object, list[Learned]] = {}
        for weight in family.weights:
            together.setdefault(weight.slopes, []).append(weight)
        self._by_sample = by_sample
        self._products = [_Products(film, weights, len(bands), like) for weights in together.values()]

    @property
    def steps_at_once(self) -> int:
        """Of how many steps rows are gathered."""
        return len(self._rows)

    def room(self, steps: range) -> tuple[Float[Tensor, " cell"], Float[Tensor, "cell batch vector hidden"]]:
        """Where rows of further steps, from 1 on, are to be added up: by step and band a scale, -inf, and sums, 0."""
        if len(self._steps) + len(steps) > len(self._rows):
            self._sum_up()
        places = slice(len(self._steps), len(self._steps) + len(steps))
        self._steps += steps
        return self._row_scale[places].flatten(), self._rows[places].flatten(0, 1)

    def result(self) -> dict[str, Float[Tensor, "band *weight"]]:
        """By name of the weight, on `ln_scale`."""
        self._sum_up()
        return {name: sums for products in self._products for name, sums in products.result().items()}

    def _sum_up(self) -> None:
        if not self._steps:
            return
        count = len(self._steps)
        scales = self._row_scale[:count]
        grown = torch.maximum(self.ln_scale, scales.amax(0))
        touched = (scales > -torch.inf).any(0).nonzero()
        if len(touched):
            bands = slice(int(touched[0]), int(touched[-1]) + 1)
            shrunk = (self.ln_scale - or_zero(grown))[bands].exp()
            places, rows = torch.tensor(self._steps) - 1, self._rows[:count]
            for products in self._products:
                products.add(places, bands, rows, scales - or_zero(grown), self._vectors, shrunk)
            if self._by_sample is not None:
                self._by_sample.add(places, rows, scales)
        self.ln_scale = grown
        self._rows[:count] = 0
        self._row_scale[:count] = -torch.inf
        self._steps = []


class _Products:
    """The sums of all weights that share their slopes: what they are multiplied with side by side, 1 for the biases."""

    def __init__(self, film: Film, weights: Sequence[Learned], bands: int, like: Tensor) -> None:
        self._weights, self._slopes = weights, weights[0].slopes
        ones = like.new_ones(1, 1, 1).expand(film.steps, film.batch, 1)
        self._columns = [ones if weight.values is None else weight.values for weight in weights]
        self._widths = [columns.shape[-1] for columns in self._columns]
        # Transposed, so that a single product serves all bands.
        self._sums = like.new_zeros(sum(self._widths), bands, len(self._slopes.parts) * like.shape[-1])

    def add(
        self, places: Tensor, bands: slice, rows: Tensor, ln_scale: Tensor, vectors: tuple[str, ...], shrunk: Tensor
    ) -> None:
        """Sum up to here on a new scale, and the products of the rows of several steps.

        Args:
            places: The steps less one.
            bands: In which bands there are rows.
            rows: (step, band, batch, vector, hidden), of all bands.
            ln_scale: Of the rows, (step, band).
            vectors: Names of the vectors.
            shrunk: What the sums so far of these bands are multiplied with.
        """
        sums = self._sums[:, bands]
        if (shrunk != 1).any():
            sums *= shrunk.to(sums).unsqueeze(-1)
        values = torch.cat([columns[places] for columns in self._columns], dim=-1)
        if rows.is_cpu:
            slopes = self._slopes.stacked(places, rows, vectors)
            add_by_band(self._sums, bands.start, bands.stop, rows, ln_scale, values, *slopes)
            return
        scaled = rows[:, bands] * ln_scale[:, bands].exp().to(rows)[..., None, None, None]
        adjoint = self._slopes.times(places, scaled.transpose(1, 2), vectors)
        sums.view(len(sums), -1).addmm_(values.flatten(0, 1).T, adjoint.flatten(2).flatten(0, 1))

    def result(self) -> dict[str, Tensor]:
        """By name."""
        # As they lie: of a large weight a copy would be large.
        parts = self._sums.permute(1, 2, 0).cpu().split(self._widths, dim=-1)
        return {
            name: part.squeeze(-1) if weight.values is None else part
            for weight, part in zip(self._weights, parts, strict=True)
            for name in weight.names
        }


def steps_at_once(numbers: int, is_cpu: bool) -> int:
    """Of how many steps the rows are gathered, where those of each have so many numbers."""
    return min(STEPS_AT_ONCE, max(1, NUMBERS_AT_ONCE.where(is_cpu) // numbers))


def add_by_torch(vectors: Sequence[Tensor], log_scale: Tensor, band: Tensor, ln_scale: Tensor, sums: Tensor) -> None:
    """Add rows to those of their bands as `throughtime.compiled.read_rows` does, wherever the rows lie.

    Args:
        vectors: One or more (row, batch, hidden).
        log_scale: The scales of their rows, (row, batch), float64; -inf for a row that is zero.
        band: Of every row, or of every row and sample.
        ln_scale: (band,), float64, on the CPU, -inf throughout; receives the scale of every band.
        sums: (band, batch, vector, hidden), zero throughout; receives the sums.
    """
    by_sample = band if band.dim() == 2 else band.unsqueeze(-1).expand(log_scale.shape)
    ln_scale.scatter_reduce_(0, by_sample.flatten(), log_scale.cpu().flatten(), "amax")
    factor = (log_scale - or_zero(ln_scale)[by_sample].to(log_scale.device)).exp()
    rows = torch.stack(list(vectors), dim=2) * factor.to(sums.dtype)[..., None, None]
    if band.dim() == 1:
        sums.index_add_(0, band.to(sums.device), rows)
    else:
        samples = torch.arange(band.shape[1], device=sums.device).expand_as(band)
        sums.index_put_((band.to(sums.device), samples), rows, accumulate=True)
