"""The rows of one frame, or of several neighbouring ones, gathered where they are worked on together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from throughtime.adjoint import AtOnce, Scaled, joined

# How many numbers are gathered.
NUMBERS_AT_ONCE = AtOnce(2**18, 2**24)


@dataclass(frozen=True)
class Rows:
    """What slopes are multiplied with, one row for every active source of every step.

    Args:
        steps: Neighbouring ones, increasing, from 1 on.
        place: Of every row, which of the steps it is of.
        sources: Of every row, which source.
        vectors: By name, see `Pullback.vectors`; on one scale.
        band: Of lags, of every row, or of every row and sample.
        known: Which rows and samples count; None where all do.
    """

    steps: range
    place: Int[Tensor, " row"]
    sources: Int[Tensor, " row"]
    vectors: Scaled
    band: Int[Tensor, "row *batch"]
    known: Bool[Tensor, "row batch"] | None

    @classmethod
    def of(cls, step: int, sources: Tensor, vectors: Scaled, band: Tensor, known: Tensor | None = None) -> Rows:
        """Those of a single step."""
        return cls(range(step, step + 1), torch.zeros_like(sources), sources, vectors, band, known)

    def __len__(self) -> int:
        return self.sources.shape[0]

    @property
    def places(self) -> slice:
        """The steps less one."""
        return slice(self.steps.start - 1, self.steps.stop - 1)

    def by_row(self, by_step: Tensor) -> Tensor:
        """What belongs to every row, of something that there is of every step; of a single one, to be broadcast."""
        return by_step if len(self.steps) == 1 else by_step[self.place.to(by_step.device)]

    def cells(self, numbers: Int[Tensor, "row *batch"], count: int) -> Int[Tensor, "row *batch"]:
        """Where a row belongs that has one of `count` numbers, among those of all steps in turn."""
        return numbers + count * self.place.view(-1, *(1 for _ in numbers.shape[1:]))

    def some(self, rows: slice) -> Rows:
        """Some of them."""
        known = None if self.known is None else self.known[rows]
        return Rows(self.steps, self.place[rows], self.sources[rows], self.vectors[rows], self.band[rows], known)


class Gathered:
    """Rows of frames as they are met, the film played backwards, until they are asked for.

    Args:
        steps: How many steps may be gathered.
        like: On the device of the rows.
    """

    def __init__(self, steps: int, like: Tensor) -> None:
        self._steps, self._room = steps, NUMBERS_AT_ONCE.where(like.is_cpu)
        self._parts: list[Rows] = []
        self._numbers = 0

    def takes(self, rows: Rows) -> bool:
        """Whether there is room for those of a further step, and it is the one before."""
        if not self._parts:
            return True
        beside = rows.steps.start == self._parts[-1].steps.start - 1
        return beside and len(self._parts) < self._steps and self._numbers + _numbers(rows) <= self._room

    def add(self, rows: Rows) -> None:
        """A copy of those of a single step; a frame is valid until the next is drawn."""
        values = {name: value.clone() for name, value in rows.vectors.values.items()}
        vectors = Scaled(values, rows.vectors.log_scale.clone())
        self._parts.append(Rows(rows.steps, rows.place, rows.sources, vectors, rows.band, rows.known))
        self._numbers += _numbers(rows)

    def all(self) -> Rows | None:
        """What has been gathered, which is forgotten; None where that is nothing."""
        parts = self._parts[::-1]
        if not parts:
            return None
        self._parts, self._numbers = [], 0
        counts = torch.tensor([len(part) for part in parts])
        known = [part.known for part in parts if part.known is not None]
        return Rows(
            range(parts[0].steps.start, parts[-1].steps.stop),
            torch.arange(len(parts)).repeat_interleave(counts),
            torch.cat([part.sources for part in parts]),
            joined([part.vectors for part in parts]),
            torch.cat([part.band for part in parts]),
            torch.cat(known) if known else None,
        )


def _numbers(rows: Rows) -> int:
    return sum(value.numel() for value in rows.vectors.values.values())
