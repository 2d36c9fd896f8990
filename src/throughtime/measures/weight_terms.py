"""Weight terms: the split of dL/dW over loss steps and state steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint import Pullback, Scaled, SweptFrame, or_zero
from throughtime.compiled import read_rows
from throughtime.measures.band_sums import BandSums, add_by_torch
from throughtime.measures.film import Film, Measure
from throughtime.measures.gathered import Gathered, Rows
from throughtime.measures.lag_bands import LagBands
from throughtime.measures.learned import Family, families
from throughtime.measures.octaves import Octaves, SampleGram
from throughtime.measures.sample_sums import SampleSums, in_directions
from throughtime.measures.source_sums import GROUPS, SourceSums
from throughtime.measures.term_norms import TermNorms

# How many times the rounding of a term may stand in a product of their sums.
ROUNDINGS = 16
# Numbers of what is found that are worked on together: there may be too many for a copy of them.
NUMBERS_AT_ONCE = 2**20


@dataclass(frozen=True)
class Terms:
    """The weight terms of one weight.

    Args:
        ln_norm: ln of the Frobenius norm of term (t, i), summed over the batch, in nats; steps 1..T in the order of
            their labels.
        by_band: The sum of all terms in every band of lags, on the band's scale.
        ln_scale: What every band is to be multiplied with, as a logarithm.
    """

    ln_norm: Float[Tensor, "source state_step"]
    by_band: Float[Tensor, "band *weight"]
    ln_scale: Float[Tensor, " band"]

    def gram(self, reference: float) -> Float[Tensor, "band band"]:
        """The scalar products of all pairs of bands, times exp(-2 reference), float64."""
        scale = (self.ln_scale - reference).exp().unsqueeze(1)
        return self._products * scale * scale.T

    def norms(self) -> Float[Tensor, " band"]:
        """The Frobenius norm of every band, float64."""
        return self._products.diagonal().sqrt() * self.ln_scale.exp()

    @cached_property
    def summed_norms(self) -> float:
        """The norms of all terms added up."""
        rows = max(1, NUMBERS_AT_ONCE // self.ln_norm.shape[1])
        return sum(float(part.exp().sum()) for part in self.ln_norm.split(rows))

    @cached_property
    def _products(self) -> Float[Tensor, "band band"]:
        """The scalar products of all pairs of bands, on their scales, float64."""
        return torch.stack([part.flatten(1) @ part.flatten(1).T for part in self._parts()]).sum(0)

    def total(self) -> Float[Tensor, "*weight"]:
        """The sum of all terms, float64: what a backward pass leaves in .grad."""
        scale = self.ln_scale.exp()
        parts = [torch.tensordot(scale, part, dims=1) for part in self._parts()]
        return torch.cat(parts, dim=-1).view(self.by_band.shape[1:])

    def _parts(self) -> Iterator[Float[Tensor, "band *part"]]:
        """All numbers of all bands, some columns of the weight at a time, float64; a single number is a column."""
        bands = self.by_band if self.by_band.dim() > 1 else self.by_band.unsqueeze(-1)
        columns = max(1, NUMBERS_AT_ONCE // max(1, bands[..., :1].numel()))
        for part in bands.split(columns, dim=-1):
            yield part.double()


class WeightTerms(Measure[SweptFrame]):
    """Weight term (t, i) = delta(t, i) * immediate derivative at i, for every weight of a recurrence.

    Args:
        film: The axes.
        pullback: The recurrence.
        bands: The bands of lags in which the terms are summed.
    """

    def __init__(self, film: Film, pullback: Pullback, bands: LagBands) -> None:
        self._film, self._bands, self._names = film, bands, tuple(pullback.weights.named())
        self._families = [_FamilyTerms(film, family, bands, pullback) for family in families(pullback)]

    def update(self, frame: SweptFrame) -> None:
        """Take in the vectors of one frame; the initial state has no terms."""
        if frame.step == 0:
            return
        lags, known = self._film.lags(frame), None
        by_sample = self._film.lags_by_sample(lags)
        if by_sample is not None:
            lags, known = by_sample
        band = self._bands.of(lags)
        for terms in self._families:
            terms.update(frame, band, known)

    def result(self) -> dict[str, Terms]:
        """By weight name, in torch's order."""
        found = {name: term for terms in self._families for name, term in terms.result(self._film).items()}
        return {name: found[name] for name in self._names}

    def gram(self) -> SampleGram | None:
        """The scalar products of what the samples and the groups of losses add. After `result`.

        None where there is a single sample and every loss is followed, so that there is nothing to compare.
        """
        found = [terms.resampled() for terms in self._families]
        if not found[0]:
            return None
        ln_scale = torch.stack([one.ln_scale for kinds in found for one in kinds]).amax(0)
        columns = max(1, NUMBERS_AT_ONCE // (len(ln_scale) * (self._film.batch + GROUPS)))
        samples = (part for kinds in found for part in kinds[0].on(ln_scale, columns))
        octaves, resolution = Octaves.up_to(self._bands.farthest), ROUNDINGS * self._families[0].resolution
        if not self._film.some:
            return SampleGram.of(octaves, samples, ln_scale, resolution)
        units = (
            torch.cat(alike, dim=1)
            for kinds in found
            for alike in zip(*(one.on(ln_scale, columns) for one in kinds[1:]), strict=True)
        )
        seen = torch.stack([terms.sources.seen for terms in self._families if terms.sources is not None]).any(0)
        return SampleGram.of(octaves, samples, ln_scale, resolution, units, seen)


class _FamilyTerms:
    """The terms of the weights whose adjoints consist of the same vectors."""

    def __init__(self, film: Film, family: Family, bands: LagBands, pullback: Pullback) -> None:
        states = pullback.trajectory.states
        # As wide as its vectors are.
        like = pullback.vectors({state: value[:1] for state, value in states.items()})[family.vectors[0]][0]
        self._vectors, self._bands = family.vectors, bands
        self._norms = TermNorms(film, family, like)
        self._samples: SampleSums | None = None
        self.sources: SourceSums | None = None
        # What a single sample adds is compared with nothing but what single losses add.
        if film.batch > 1 or film.some:
            values = in_directions(film, family, like)
            self._samples = SampleSums(film, family, bands, like, values)
            if film.some:
                self.sources = SourceSums(film, family, self._samples.octaves, like, values)
        self._sums = BandSums(film, family, bands, like, self._samples)
        rooms = (self._sums, self.sources) if self.sources is not None else (self._sums,)
        self._gathered = Gathered(min(room.steps_at_once for room in rooms), like)
        self.resolution = torch.finfo(like.dtype).eps

    def update(self, frame: SweptFrame, band: Tensor, known: Tensor | None) -> None:
        """Take in a frame, its rows in bands, all samples of a row in one or each in its own; None where all count."""
        vectors = Scaled({name: frame.vectors.values[name] for name in self._vectors}, frame.vectors.log_scale)
        rows = Rows.of(frame.step, frame.sources, vectors, band, known)
        if vectors.log_scale.is_cpu and known is None:
            self._read(rows)
            return
        if not self._gathered.takes(rows):
            self._take_gathered()
        self._gathered.add(rows)

    def _read(self, rows: Rows) -> None:
        """Take in the rows of one step on the CPU: sums and norms at one reading of each."""
        step, vectors = rows.steps.start, rows.vectors
        forms, column = self._norms.forms(step), self._norms.column(step)
        values, room = list(vectors.values.values()), self._sums.room(rows.steps)
        if not read_rows(values, vectors.log_scale, rows.band, *room, rows.sources, column, forms):
            self._norms.take_products(rows)
        if self.sources is not None:
            self.sources.update(rows)

    def _take_gathered(self) -> None:
        """Take in what has been gathered, all of it at once."""
        rows = self._gathered.all()
        if rows is None:
            return
        log_scale, known = rows.vectors.log_scale, rows.known
        followed = log_scale if known is None else log_scale.masked_fill(~known.to(log_scale.device), -torch.inf)
        room, cells = self._sums.room(rows.steps), rows.cells(rows.band, len(self._bands))
        add_by_torch(list(rows.vectors.values.values()), followed, cells, *room)
        self._norms.take_products(rows)
        if self.sources is not None:
            self.sources.update(rows)

    def resampled(self) -> list[_Parts]:
        """What every sample adds; and where not all losses are followed, that in fewer directions, and every group."""
        found = []
        if self._samples is not None:
            found.append(_Parts(self._samples.result(), self._samples.ln_scale))
        if self._samples is not None and self.sources is not None:
            found.append(_Parts(self._samples.result(self.sources.directions), self._samples.ln_scale))
            found.append(_Parts(self.sources.result(), self.sources.ln_scale))
        return found

    def result(self, film: Film) -> dict[str, Terms]:
        """By name of the weight."""
        self._take_gathered()
        sums = self._sums.result()
        return {
            name: Terms(film.in_sequence(ln_norm), sums[name], self._sums.ln_scale)
            for name, ln_norm in self._norms.result().items()
        }


@dataclass(frozen=True)
class _Parts:
    """Numbers of the gradient by octave and unit, and the scale of every octave."""

    sums: Iterable[Tensor]
    ln_scale: Tensor

    def on(self, ln_scale: Tensor, columns: int) -> Iterator[Tensor]:
        """On another scale, so many columns at a time, float64."""
        factor = (self.ln_scale - or_zero(ln_scale)).exp().unsqueeze(-1).unsqueeze(-1)
        for part in self.sums:
            for some in part.split(columns, dim=-1):
                yield some.double() * factor
