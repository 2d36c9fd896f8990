"""What of a captured run depends on what: the losses, the recurrences, and the graph between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint.loops import LoopFilm
from throughtime.adjoint.segments import Segment, segments
from throughtime.capture import Loop, Opened, Recurrence, Run


@dataclass(frozen=True)
class Part:
    """A run and its place in its recurrence.

    Args:
        run: The run.
        index: Of the recurrence.
        offset: Steps of the recurrence before this run.
    """

    run: Run
    index: int
    offset: int


class Wiring:
    """The runs of all opened recurrences by place, in the order of execution, and what leads from one to another.

    Args:
        recurrences: In the order in which they began.
        losses: One loss per step, on the cut graph.
    """

    def __init__(self, recurrences: Sequence[Recurrence], losses: Float[Tensor, " source"]) -> None:
        self.recurrences, self.losses = list(recurrences), losses
        parts = [
            Part(run, index, offset)
            for index, recurrence in enumerate(self.recurrences)
            if isinstance(recurrence, Opened)
            for run, offset in zip(recurrence.runs, recurrence.offsets, strict=True)
        ]
        # Later runs may depend on earlier ones only.
        self.parts = sorted(parts, key=lambda part: part.run.number)
        runs = [part.run for part in self.parts]
        self._place = {id(run): place for place, run in enumerate(runs)}
        self.to_losses = segments(runs, losses)
        # By run above and end of it, the segments from the runs below.
        self._below = [{id(end): segments(runs[:above], end) for end in run.ends} for above, run in enumerate(runs)]
        ends = [end for run in runs for end in run.ends if end.requires_grad]
        self.loops = {
            index: LoopFilm(recurrence, losses, ends)
            for index, recurrence in enumerate(self.recurrences)
            if isinstance(recurrence, Loop)
        }

    def parts_of(self, index: int) -> Iterator[tuple[int, Part]]:
        """The runs of a recurrence, with their places."""
        return ((place, part) for place, part in enumerate(self.parts) if part.index == index)

    def below(self, place: int, end: Tensor) -> dict[int, Segment]:
        """The segments that end in something a run starts from, by the place of the run at their start."""
        return self._below[place].get(id(end), {})

    def between(self, below: int, above: int) -> list[Segment]:
        """The segments from a run to another."""
        return [by_place[below] for by_place in self._below[above].values() if below in by_place]

    def in_step(self, below: int, above: int) -> bool:
        """Whether a run reads another at its own steps only, and in the same direction."""
        alike = self.parts[below].run.reverse == self.parts[above].run.reverse
        return alike and self.side_by_side(below, above)

    def side_by_side(self, below: int, above: int) -> bool:
        """Whether a run reads another at its own steps only, in whatever direction."""
        between = self.between(below, above)
        return bool(between) and all(segment.local for segment in between)

    def reads_by_all_steps(self, index: int) -> bool:
        """Whether another recurrence below is read by way of all steps of a recurrence.

        So it is through its initial state, by attention, or in the other direction: a step far from a loss may then be
        the way to a state that is near it.
        """
        for place, part in self.parts_of(index):
            if any(film.feeds(end) for film in self.loops.values() for end in part.run.ends):
                return True
            others = [below for below in self.feeding(place) if self.parts[below].index != index]
            if not all(self.in_step(below, place) for below in others):
                return True
        return False

    def before(self, place: int) -> int:
        """The run whose last states a run goes on from, unbroken."""
        return self._place[id(self.parts[place].run.continues)]

    def feeding(self, place: int) -> set[int]:
        """The runs that a run starts from, directly."""
        found = {below for by_place in self._below[place].values() for below in by_place}
        return found | ({self.before(place)} if self.parts[place].run.unbroken else set())

    @cached_property
    def above(self) -> list[list[int]]:
        """By run, those that start from it, directly."""
        found: list[list[int]] = [[] for _ in self.parts]
        for place in range(len(self.parts)):
            for below in self.feeding(place):
                found[below].append(place)
        return found

    @cached_property
    def segments(self) -> list[Segment]:
        """All of them."""
        between = (one for ends in self._below for by_place in ends.values() for one in by_place.values())
        return [*self.to_losses.values(), *between]

    def reads_input(self, place: int) -> bool:
        """Whether the input of a run depends on a run or a loop below it."""
        end = self.parts[place].run.inputs
        return bool(self.below(place, end)) or any(film.feeds(end) for film in self.loops.values())

    def reached(self, index: int) -> bool:
        """Whether the losses depend on a recurrence at all, directly or through others."""
        if index in self.loops:
            return self._reached_loops[index]
        return any(self.reached_runs[place] for place, _ in self.parts_of(index))

    @cached_property
    def reached_runs(self) -> list[bool]:
        """The same of every run."""
        found = [place in self.to_losses for place in range(len(self.parts))]
        for place in reversed(range(len(self.parts))):
            if found[place]:
                for below in self.feeding(place):
                    found[below] = True
        return found

    @cached_property
    def _reached_loops(self) -> dict[int, bool]:
        reached = zip(self.parts, self.reached_runs, strict=True)
        ends = {id(end) for part, is_reached in reached if is_reached for end in part.run.ends}
        return {index: film.reached_from(ends) for index, film in self.loops.items()}
