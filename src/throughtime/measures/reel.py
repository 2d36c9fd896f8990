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

# Rows, one per source and state, that are gathered: so many that an operation on all of them takes longer than to call
# it, and so few that they fit the caches.
ROWS_AT_ONCE = 2**15


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
        self._sources: list[Tensor] = []
        self._steps: list[int] = []
        self._ln_square: list[Named] = []
        self._rows = 0

    def update(self, frame: Frame) -> None:
        """Gather the norms of one frame."""
        self._sources.append(frame.sources)
        self._steps.append(frame.step)
        self._ln_square.append(frame.ln_square)
        self._rows += len(frame.sources)
        if self._rows >= ROWS_AT_ONCE:
            self.finish()

    def finish(self) -> None:
        """Hand on what has been gathered."""
        if not self._rows:
            return
        sources = torch.cat(self._sources)
        lengths = torch.tensor([len(part) for part in self._sources])
        steps = torch.tensor(self._steps).repeat_interleave(lengths)
        ln_square = {state: torch.cat([part[state] for part in self._ln_square]) for state in self._film.states}
        reel = Reel(sources, steps, self._film.positions[sources] - steps, ln_square)
        for measure in self._measures:
            measure.take(reel)
        self._sources, self._steps, self._ln_square, self._rows = [], [], [], 0
