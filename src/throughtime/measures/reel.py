"""Norms of many frames, gathered, so that what is measured of norms alone is measured of many states at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from throughtime.adjoint import Frame
from throughtime.cells import Named
from throughtime.measures.film import Film, Measure

# Rows, one per source and state, that are gathered, and numbers, one per row and sample: so many that an operation on
# all of them takes longer than to call it, and so few that they fit the caches.
ROWS_AT_ONCE, NUMBERS_AT_ONCE = 2**15, 2**18


@dataclass(frozen=True)
class Reel:
    """The norms of several frames, one row for every active source of each.

    Args:
        sources: Which source.
        steps: At which state.
        lags: At which lag.
        ln_square: By state, ln |dl_t/ds_i|^2 of every sample, float64.
    """

    sources: Int[Tensor, " row"]
    steps: Int[Tensor, " row"]
    lags: Int[Tensor, " row"]
    ln_square: Named


class NormMeasure(ABC):
    """One quantity that depends on norms alone, in whatever order they come."""

    @abstractmethod
    def take(self, reel: Reel) -> None:
        """Take in the norms of several frames."""


class Reels(Measure[Frame]):
    """Gathers norms and hands them on to the measures of norms.

    Args:
        film: The axes.
        measures: The measures.
    """

    def __init__(self, film: Film, measures: Sequence[NormMeasure]) -> None:
        self._film, self._measures = film, measures
        # One place for all, since small blocks of every frame would lie in the way of whatever is made between them.
        self._shape = max(film.sources, min(ROWS_AT_ONCE, NUMBERS_AT_ONCE // film.batch)), film.batch
        self._norms: dict[str, Tensor] = {}
        self._log_scale = torch.empty(0)
        self._sources: list[Tensor] = []
        self._steps: list[int] = []
        self._rows = 0

    def update(self, frame: Frame) -> None:
        """Gather the norms of one frame."""
        count, given = frame.sources.shape[0], frame.adjoint.log_scale
        if not self._norms:
            # Where the adjoints are: a GPU is not waited for at every frame.
            self._norms = {state: given.new_empty(self._shape) for state in self._film.states}
            self._log_scale = given.new_empty(self._shape)
        if self._rows + count > self._shape[0]:
            self.finish()
        rows = slice(self._rows, self._rows + count)
        self._sources.append(frame.sources)
        self._steps.append(frame.step)
        # Logarithms are taken of all together.
        for state, gathered in self._norms.items():
            gathered[rows] = frame.adjoint.norms[state]
        self._log_scale[rows] = given
        self._rows = rows.stop

    def finish(self) -> None:
        """Hand on what has been gathered."""
        if not self._rows:
            return
        counts = torch.tensor([len(sources) for sources in self._sources])
        sources, steps = torch.cat(self._sources), torch.tensor(self._steps).repeat_interleave(counts)
        log_scale = self._log_scale[: self._rows]
        ln_square = {
            state: norms[: self._rows].log().add_(log_scale).mul_(2).cpu() for state, norms in self._norms.items()
        }
        reel = Reel(sources, steps, self._film.positions[sources] - steps, ln_square)
        for measure in self._measures:
            measure.take(reel)
        self._sources, self._steps, self._rows = [], [], 0
