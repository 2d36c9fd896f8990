"""What every sample adds to the gradient of the weights at a distance, from which signal and noise are told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import or_zero
from throughtime.measures.film import Film
from throughtime.measures.lag_bands import LagBands
from throughtime.measures.learned import Family, Learned, Slopes

# Of what a weight is multiplied with, so many random directions are kept where there are more: a scalar product of two
# gradients is then right on average. Its relative variance is 2/16 where both are of rank one, and falls with the rank.
DIRECTIONS = 16
# How many times the rounding of a term may stand in a product of their sums.
ROUNDINGS = 16


@dataclass(frozen=True)
class SampleGram:
    """The scalar products of what the samples add to the gradient, all weights together.

    Args:
        starts: The smallest distance |t - i| of every octave: 0, 1, 2, 4, ...; it ends where the next one starts.
        products: <g_{k,b}, g_{l,c}>, on the scales of both octaves.
        ln_scale: What an octave is to be multiplied with, as a logarithm.
        resolution: Relative rounding of the sums behind the products.
    """

    starts: Int[Tensor, " octave"]
    products: Float[Tensor, "octave batch octave batch"]
    ln_scale: Float[Tensor, " octave"]
    resolution: float


class SampleSums:
    """By sample and octave of distances, the sum of the weight terms of all sources, of a family of weights.

    It is fed with what the sums by band are made of, in which the sources have been added up and the samples not yet.

    Args:
        film: The axes.
        family: The weights.
        bands: What the rows have been summed in; none of them is in two octaves.
        like: A state of the recurrence, (batch, hidden).
    """

    def __init__(self, film: Film, family: Family, bands: LagBands, like: Tensor) -> None:
        distance = torch.maximum(bands.starts, 1 - bands.starts - bands.widths)
        farthest = int(distance.max())
        self._starts = torch.tensor([0, *(2**power for power in range(farthest.bit_length()))])
        self._octave = torch.searchsorted(self._starts, distance, right=True) - 1
        self._vectors = family.vectors
        self._ln_scale = torch.full((len(self._starts),), -torch.inf, dtype=torch.float64)
        together: dict[Slopes, list[Learned]] = {}
        for weight in family.weights:
            together.setdefault(weight.slopes, []).append(weight)
        self._values = {slopes: _values(film, weights, like) for slopes, weights in together.items()}
        self._sums = {
            (slopes, part): like.new_zeros(film.batch, values.shape[-1], len(self._starts), like.shape[-1])
            for slopes, values in self._values.items()
            for part in slopes.parts
        }

    def add(
        self,
        places: Int[Tensor, " step"],
        bands: slice,
        rows: Float[Tensor, "step band batch vector hidden"],
        ln_scale: Float[Tensor, " band"],
    ) -> None:
        """Add the terms of several steps.

        Args:
            places: The steps less one.
            bands: To which bands the rows belong.
            rows: The vectors of all sources of a band, added up.
            ln_scale: The scales of these bands.
        """
        octave = self._octave[bands]
        grown = self._ln_scale.scatter_reduce(0, octave, ln_scale, "amax")
        shrunk = (self._ln_scale - or_zero(grown)).exp().to(rows.dtype)
        factor = (ln_scale - or_zero(grown)[octave]).exp().to(rows.dtype)
        summed = rows.new_zeros(len(grown), len(octave)).index_put_((octave, torch.arange(len(octave))), factor)
        # (octave, band) times (band, vector * hidden), for every step and sample.
        by_octave = torch.matmul(summed, rows.transpose(1, 2).flatten(3)).unflatten(3, rows.shape[3:])
        for slopes, values in self._values.items():
            found, columns = slopes.at(places), values[places].permute(1, 2, 0)
            for part in slopes.parts:
                there = [index for index, vector in enumerate(self._vectors) if part in found.get(vector, {})]
                terms = [by_octave[..., v, :] * found[self._vectors[v]][part].unsqueeze(2) for v in there]
                sums = self._sums[slopes, part]
                if (shrunk != 1).any():
                    sums *= shrunk.unsqueeze(-1)
                for term in terms:
                    # (direction, step) times (step, octave * hidden), for every sample
                    sums.flatten(2).baddbmm_(columns, term.flatten(2).transpose(0, 1))
        self._ln_scale = grown

    @staticmethod
    def gram(families: Sequence[SampleSums]) -> SampleGram:
        """The scalar products of all pairs of octaves and samples, over the weights of all families."""
        first = families[0]
        ln_scale = torch.stack([one._ln_scale for one in families]).amax(0)
        octaves = len(ln_scale)
        products = torch.zeros(())
        for one in families:
            factor = (one._ln_scale - or_zero(ln_scale)).exp()
            for sums in one._sums.values():
                # (octave, batch, directions * hidden)
                flat = (sums.permute(2, 0, 1, 3).flatten(2).double() * factor[:, None, None]).flatten(0, 1)
                products = products + flat @ flat.T
        batch = len(products) // octaves
        rounding = ROUNDINGS * torch.finfo(sums.dtype).eps
        return SampleGram(first._starts, products.reshape(octaves, batch, octaves, batch), ln_scale, rounding)


def _values(film: Film, weights: Sequence[Learned], like: Tensor) -> Float[Tensor, "time batch direction"]:
    """What the weights are multiplied with, side by side, in few random directions at right angles.

    They are on a scale that keeps the mean of every scalar product. A weight that stands for several counts as often.
    """
    ones = like.new_ones(film.steps, film.batch, 1)
    columns = torch.cat(
        [(ones if one.values is None else one.values) * len(one.names) ** 0.5 for one in weights], dim=-1
    )
    features = columns.shape[-1]
    if features <= DIRECTIONS:
        return columns
    drawn = torch.randn(features, DIRECTIONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return columns @ (torch.linalg.qr(drawn)[0] * (features / DIRECTIONS) ** 0.5).to(columns)
