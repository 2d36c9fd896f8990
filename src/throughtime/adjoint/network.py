"""All recurrences of a model: the film played through every one of them, from the last that ran to the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from throughtime.adjoint.derivatives import bytes_of_derivatives
from throughtime.adjoint.entering import AtOneStep, Entering
from throughtime.adjoint.loops import LoopFilm
from throughtime.adjoint.pullback import Pullback
from throughtime.adjoint.segments import InputAdjoint, segments
from throughtime.adjoint.sweep import Frame, SweptFrame, sweep
from throughtime.adjoint.to_inputs import ToInputs
from throughtime.capture import AdjointNotFinite, Loop, Opened, Recurrence, Run


@dataclass(frozen=True)
class Playing:
    """A part of one recurrence about to be played for some sources.

    Args:
        index: Which recurrence.
        states: How many of its states this part has.
        frames: Their film, to be drawn to the end.
        read: Whether a source reads a sample at all, here or through what is above, however far from its own step.
    """

    index: int
    states: int
    frames: Iterator[Frame]
    read: Bool[Tensor, "source batch"]


@dataclass(frozen=True)
class _Part:
    """A run and its place in its recurrence.

    Args:
        run: The run.
        index: Of the recurrence.
        offset: Steps of the recurrence before this run.
    """

    run: Run
    index: int
    offset: int


class Network:
    """The recurrences of a captured run, the losses, and the segments of ordinary autograd between them.

    Args:
        recurrences: In the order in which they began.
        losses: One loss per step, on the cut graph.
    """

    def __init__(self, recurrences: Sequence[Recurrence], losses: Float[Tensor, " source"]) -> None:
        self.recurrences = list(recurrences)
        self._losses = losses
        # By index of a recurrence, its step pullbacks; and by place of a run, its own.
        self.pullbacks: dict[int, Pullback] = {}
        self._own_pullbacks: dict[int, Pullback] = {}
        parts = [
            _Part(run, index, offset)
            for index, recurrence in enumerate(self.recurrences)
            if isinstance(recurrence, Opened)
            for run, offset in zip(recurrence.runs, recurrence.offsets, strict=True)
        ]
        # In the order of execution, in which later runs may depend on earlier ones only.
        self._parts = sorted(parts, key=lambda part: part.run.number)
        runs = [part.run for part in self._parts]
        self._to_losses = segments(runs, losses)
        # By run above and end of it, the segments from the runs below.
        self._below = [{id(end): segments(runs[:above], end) for end in run.ends} for above, run in enumerate(runs)]
        self._place = {id(run): place for place, run in enumerate(runs)}
        ends = [end for run in runs for end in run.ends if end.requires_grad]
        self._loops = {
            index: LoopFilm(recurrence, losses, ends)
            for index, recurrence in enumerate(self.recurrences)
            if isinstance(recurrence, Loop)
        }

    def differentiate(self, memory: int | None = None) -> None:
        """Make the step pullbacks, without which nothing can be played.

        Args:
            memory: Bytes that the derivatives along all recurrences may take; None for as many as they need.
        """
        opened = [one for one in self.recurrences if isinstance(one, Opened)]
        with torch.no_grad():
            share = None if memory is None else memory / max(1, sum(map(derivatives_in_all, opened)))
            for index, recurrence in enumerate(self.recurrences):
                if isinstance(recurrence, Opened):
                    trajectory = recurrence.trajectory
                    may = None if share is None else int(share * bytes_of_derivatives(recurrence.cell, trajectory))
                    self.pullbacks[index] = Pullback(recurrence.cell, recurrence.weights, trajectory, may)
            for place, part in enumerate(self._parts):
                self._own_pullbacks[place] = self.pullbacks[part.index]
                if part.run.steps < self.recurrences[part.index].steps:
                    run = part.run
                    may = None if share is None else int(share * bytes_of_derivatives(run.cell, run.trajectory))
                    self._own_pullbacks[place] = Pullback(run.cell, run.weights, run.trajectory, may)

    @contextmanager
    def in_windows(self, window: int) -> Iterator[None]:
        """Inside, nothing passes back within a recurrence from one window of so many steps to the one before."""
        before = self.pullbacks, self._own_pullbacks
        whole, own = dict(before[0]), dict(before[1])
        for index, pullback in before[0].items():
            recurrence = self.recurrences[index]
            whole[index] = pullback.stopping_at(_begins(window, recurrence.steps, recurrence.reverse))
        for place, part in enumerate(self._parts):
            recurrence = self.recurrences[part.index]
            if own[place] is before[0][part.index]:
                own[place] = whole[part.index]
            else:
                begins = _begins(window, recurrence.steps, recurrence.reverse)
                own[place] = own[place].stopping_at(begins[part.offset : part.offset + part.run.steps])
        self.pullbacks, self._own_pullbacks = whole, own
        try:
            yield
        finally:
            self.pullbacks, self._own_pullbacks = before

    def reached(self, index: int) -> bool:
        """Whether the losses depend on a recurrence at all, directly or through others."""
        if index in self._loops:
            return bool(self._losses_reach[index])
        return any(self._reached[place] for place, part in enumerate(self._parts) if part.index == index)

    def causal(self, index: int) -> bool:
        """Whether it is certain that no loss reaches a state later than its own step.

        So it is where every segment above keeps to its step and everything above reads in the same direction.
        """
        places = [place for place, part in enumerate(self._parts) if part.index == index]
        return len(places) == 1 and self._causal(places[0])

    def bytes_per_source(self) -> int:
        """What is followed of one source takes at most: the film's rows, and what enters and leaves the recurrences."""
        entering, most = [0] * len(self._parts), 0
        for place in reversed(range(len(self._parts))):
            if not self._reached[place]:
                continue
            run, needed = self._parts[place].run, self._input_needed(place)
            if place in self._to_losses:
                entering[place] += self._to_losses[place].bytes_from_losses()
            left = ToInputs.bytes_per_source(run, needed)
            most = max(most, sum(entering) + left + _bytes_of_rows(run, needed))
            for end in run.ends:
                for below, segment in self._below[place].get(id(end), {}).items():
                    entered, on_the_way = segment.bytes_from_above(left)
                    entering[below] += entered
                    most = max(most, sum(entering) + on_the_way)
            # A loop takes them in at its end.
            entering[place] = left if self._loops else 0
        return most + sum(one.bytes_per_source for one in self._loops.values())

    def bytes_at_once(self) -> int:
        """What is made at once on the way between recurrences, whatever the number of sources."""
        every = [
            *self._to_losses.values(),
            *(one for ends in self._below for found in ends.values() for one in found.values()),
        ]
        return max((segment.bytes_at_once for segment in every), default=0)

    def last_read(self, index: int, sources: Int[Tensor, " source"]) -> Int[Tensor, " source"]:
        """For every source, the last step in reading order whose state its loss reads directly.

        The last step of all where it reads the recurrence only through others.
        """
        steps = self.recurrences[index].steps
        if index in self._loops:
            found = self._loops[index].last_reached(sources)
            return torch.where(found > 0, found, steps)
        found = torch.full_like(sources, -1)
        for place, part in enumerate(self._parts):
            if part.index == index and place in self._to_losses:
                first = (
                    torch.stack([one.first for one in self._to_losses[place].from_losses(sources)]).max(dim=0).values
                )
                found = torch.where(first > 0, torch.maximum(found, first + part.offset), found)
        return torch.where(found > 0, found, steps)

    def out_of_step(self, index: int) -> Int[Tensor, " source"] | None:
        """For every loss, the last step in reading order whose state it reads, where that is not its own step.

        So it is where a sequence is turned around by hand, or an encoder is read at its end by a decoder that has as
        many steps. None where losses that read later steps than their own read that one, too, or may.
        """
        if index in self._loops:
            return self._loops[index].out_of_step()
        recurrence, labels = self.recurrences[index], torch.arange(1, len(self._losses) + 1)
        own = recurrence.steps + 1 - labels if recurrence.reverse else labels
        last = self.read_steps(index, 0)
        if last is None:
            return None
        read, ahead = last > 0, last > own
        turned = read.sum() > 1 and (last == recurrence.steps + 1 - own)[read].all()
        elsewhere = turned or (ahead.any() and not self._in_step(index, own)[ahead].any())
        return torch.where(read, last, own) if elsewhere else None

    def read_steps(self, index: int, otherwise: int | None = None) -> Int[Tensor, " source"] | None:
        """For every loss, the last step in reading order at which it reads an opened recurrence, in whatever way.

        None where losses read several steps, or that is not known.

        Args:
            index: Of the recurrence.
            otherwise: What stands for a loss that reads none; its last step by default.
        """
        if index in self._loops:
            return None
        last = torch.zeros(len(self._losses), dtype=torch.long)
        for place, part in enumerate(self._parts):
            if part.index == index:
                here = self._steps_read[place]
                if here is None:
                    return None
                last = torch.maximum(last, (here + part.offset) * (here > 0))
        return torch.where(last > 0, last, self.recurrences[index].steps if otherwise is None else otherwise)

    def _in_step(self, index: int, own: Int[Tensor, " source"]) -> Bool[Tensor, " source"]:
        """Whether a loss reads a recurrence at its own step, among others."""
        found = torch.zeros(len(own), dtype=torch.bool)
        for place, part in enumerate(self._parts):
            here = self._steps_read[place] if part.index == index else None
            if here is not None:
                found |= (here > 0) & (here + part.offset == own)
        return found

    @cached_property
    def _steps_read(self) -> list[Int[Tensor, " source"] | None]:
        """For every run and loss, the one of its own steps in reading order at which the loss reads it, 0 for none.

        Directly or through other recurrences; None for a run of which losses read several steps.
        """
        found: list[Tensor | None] = [None] * len(self._parts)
        for place in reversed(range(len(self._parts))):
            steps = torch.zeros(len(self._losses), dtype=torch.long)
            for one in self._ways(place, found):
                if one is None or bool(((one > 0) & (steps > 0) & (one != steps)).any()):
                    break
                steps = torch.maximum(steps, one)
            else:
                found[place] = steps
        return found

    def _ways(self, place: int, found: Sequence[Tensor | None]) -> Iterator[Tensor | None]:
        """The same by every way from the losses to a run, but for that through its own recurrence."""
        if place in self._to_losses:
            yield self._to_losses[place].steps_read
        for other in self._above[place]:
            if self._parts[other].index != self._parts[place].index:
                yield self._read_through(place, other, found[other])

    def _read_through(
        self, place: int, above: int, read: Int[Tensor, " source"] | None
    ) -> Int[Tensor, " source"] | None:
        """The same of what is read by way of a run above."""
        run, reader = self._parts[place].run, self._parts[above].run
        between = [by_end[place] for by_end in self._below[above].values() if place in by_end]
        if all(segment.reads_the_end_only for segment in between):
            return run.steps * self._reached_by[above]
        alike = (run.steps, run.batch, run.reverse) == (reader.steps, reader.batch, reader.reverse)
        return read if alike and all(segment.local for segment in between) else None

    @cached_property
    def _reached_by(self) -> list[Bool[Tensor, " source"]]:
        """For every run, which losses depend on it at all, or may."""
        found = [torch.zeros(len(self._losses), dtype=torch.bool) for _ in self._parts]
        for place in reversed(range(len(self._parts))):
            if place in self._to_losses:
                read = self._to_losses[place].steps_read
                found[place] |= torch.tensor(True) if read is None else read > 0
            for other in self._above[place]:
                found[place] |= found[other]
        return found

    def last_read_by_sample(self, index: int) -> Int[Tensor, " batch"] | None:
        """The last step in reading order at which the only loss reads the states of every sample.

        Directly, or through recurrences above that read step by step in the same direction; what is read in another way
        counts as read to its end. 0 for a sample that is read nowhere. None of several losses.
        """
        if len(self._losses) > 1:
            return None
        if index in self._loops:
            return self._loops[index].last_read_by_sample()
        found = torch.zeros(self.recurrences[index].batch, dtype=torch.long)
        for place, part in enumerate(self._parts):
            if part.index == index:
                last = self._last_read[place]
                # Of a packed sequence, later runs may hold fewer samples, the first ones.
                here = found[: len(last)]
                torch.maximum(here, (last + part.offset) * (last > 0), out=here)
        return found

    @cached_property
    def _last_read(self) -> list[Int[Tensor, " batch"]]:
        """The same of every run, of its own steps; from the last run to the first, since those above run later."""
        found = [torch.zeros(part.run.batch, dtype=torch.long) for part in self._parts]
        for place in reversed(range(len(self._parts))):
            if place in self._to_losses:
                for entering in self._to_losses[place].from_losses(torch.zeros(1, dtype=torch.long)):
                    found[place] = torch.maximum(found[place], entering.last_by_sample())
            reader = self._parts[place].run
            for below in self._feeding(place):
                run = self._parts[below].run
                between = [by_end[below] for by_end in self._below[place].values() if below in by_end]
                alike = reader.batch == run.batch
                in_step = between and alike and reader.reverse == run.reverse
                if in_step and all(segment.local for segment in between):
                    last = found[place]
                elif alike and (not between or self._parts[below].index == self._parts[place].index):
                    # It goes on from the states in which the samples ended.
                    last = run.reading.ends(run.steps, run.batch) * (found[place] > 0)
                else:
                    last = run.reading.ends(run.steps, run.batch) * bool((found[place] > 0).any())
                found[below] = torch.maximum(found[below], last)
        return found

    def play(self, sources: Int[Tensor, " source"], last_steps: Sequence[Int[Tensor, " source"]]) -> Iterator[Playing]:
        """Every recurrence that the losses depend on, from the last run to the first.

        Args:
            sources: Indices into the losses.
            last_steps: For every recurrence, the smallest step to which each source is followed.
        """
        entering: list[list[Entering]] = [[] for _ in self._parts]
        above: list[InputAdjoint] = []
        read: dict[int, Tensor] = {}
        for place in reversed(range(len(self._parts))):
            if not self._reached[place]:
                continue
            part = self._parts[place]
            if place in self._to_losses:
                entering[place] += self._to_losses[place].from_losses(sources)
            collector = ToInputs(part.run, len(sources), self._input_needed(place))
            last = (last_steps[part.index] - part.offset).clamp(min=0)
            frames = sweep(self._own_pullbacks[place], entering[place], len(sources), last)
            read[place] = self._read(place, entering[place], read)
            states, shown = part.run.steps + (part.offset == 0), self._shown(place, frames, collector)
            yield Playing(part.index, states, shown, self._of_recurrence(place, read[place]))
            self._pass_on(place, collector, entering, above)
            entering[place] = []
        for index, film in self._loops.items():
            if self.reached(index):
                yield Playing(index, self.recurrences[index].steps + 1, *film.play(sources, above, last_steps[index]))

    def outside(self, index: int, sources: Int[Tensor, " source"]) -> dict[str, Tensor]:
        """By weight of a loop, the gradient that comes from where the rest of the model works with it."""
        return self._loops[index].outside(sources) if index in self._loops else {}

    def _read(
        self, place: int, entering: Sequence[Entering], above: Mapping[int, Tensor]
    ) -> Bool[Tensor, "source batch"]:
        """Whether a source reads a sample of a run; what enters from above is known as far as it was followed only."""
        found = torch.stack([one.reads() for one in entering]).any(0)
        for other in self._above[place]:
            if other in above:
                theirs = above[other]
                if theirs.shape != found.shape:
                    theirs = theirs.any(1, keepdim=True)
                found = found | theirs
        return found

    def _of_recurrence(self, place: int, read: Bool[Tensor, "source batch"]) -> Bool[Tensor, "source batch"]:
        """Of a later run of a packed sequence, which may hold fewer samples, the first ones."""
        batch = self.recurrences[self._parts[place].index].batch
        return torch.nn.functional.pad(read, (0, batch - read.shape[1]))

    def _shown(self, place: int, frames: Iterator[SweptFrame], collector: ToInputs) -> Iterator[Frame]:
        part = self._parts[place]
        whole = self.pullbacks[part.index]
        for frame in _located(frames, part.offset):
            collector.update(frame)
            if whole is self._own_pullbacks[place]:
                yield frame
            elif part.offset == 0 or frame.step > 0:
                # The state from which a later run starts is shown as the one in which its predecessor ended.
                batch = self.recurrences[part.index].batch
                if part.run.batch == batch:
                    yield frame.changed(step=frame.step + part.offset, pullback=whole)
                else:
                    yield SweptFrame(frame.step + part.offset, frame.sources, frame.adjoint.padded(batch), whole)

    def _pass_on(
        self, place: int, collector: ToInputs, entering: list[list[Entering]], above: list[InputAdjoint]
    ) -> None:
        run, adjoints = self._parts[place].run, []
        if self._input_needed(place):
            adjoints.append(collector.inputs())
        starts = collector.starts()
        if run.unbroken:
            before = self._place[id(run.continues)]
            steps = torch.full((len(next(iter(starts.values())).values),), self._parts[before].run.steps)
            entering[before] += [
                AtOneStep(start.values, steps, state, start.log_scale) for state, start in starts.items()
            ]
        else:
            adjoints += starts.values()
        for adjoint in adjoints:
            for below, segment in self._below[place].get(id(adjoint.end), {}).items():
                entering[below] += segment.from_above(adjoint)
        if self._loops:
            above += [adjoint for adjoint in adjoints if adjoint.end.requires_grad]

    @cached_property
    def _reached(self) -> list[bool]:
        found = [place in self._to_losses for place in range(len(self._parts))]
        for place in reversed(range(len(self._parts))):
            if found[place]:
                for below in self._feeding(place):
                    found[below] = True
        return found

    @cached_property
    def _losses_reach(self) -> dict[int, bool]:
        ends = {
            id(end)
            for part, reached in zip(self._parts, self._reached, strict=True)
            if reached
            for end in part.run.ends
        }
        return {index: film.reached_from(ends) for index, film in self._loops.items()}

    def _feeding(self, place: int) -> set[int]:
        """The runs that a run starts from, directly."""
        run = self._parts[place].run
        found = {below for by_end in self._below[place].values() for below in by_end}
        return found | ({self._place[id(run.continues)]} if run.unbroken else set())

    @cached_property
    def _above(self) -> list[list[int]]:
        """By run, those that start from it, directly."""
        found: list[list[int]] = [[] for _ in self._parts]
        for place in range(len(self._parts)):
            for below in self._feeding(place):
                found[below].append(place)
        return found

    def _input_needed(self, place: int) -> bool:
        """Whether the input of a run depends on a run or a loop below it."""
        end = self._parts[place].run.inputs
        return bool(self._below[place].get(id(end))) or any(film.feeds(end) for film in self._loops.values())

    def _causal(self, place: int) -> bool:
        run, to_losses, above = self._parts[place].run, self._to_losses.get(place), self._above[place]
        if to_losses is not None and not to_losses.single:
            if to_losses.read_at is None:
                return False
            if len(to_losses.read_at) != run.steps:
                # Lags are counted from what is read directly; what is above may read later steps.
                return not above
            if not ((to_losses.read_at < 0) | (to_losses.read_at == torch.arange(run.steps))).all():
                return False
        return all(
            self._causal(other)
            and self._parts[other].run.reverse == run.reverse
            and all(by_end[place].local for by_end in self._below[other].values() if place in by_end)
            for other in above
        )


def _begins(window: int, steps: int, reverse: bool) -> Bool[Tensor, " time"]:
    """Whether a step, in reading order, begins a window and not the sequence; windows are counted from step 1."""
    read = torch.arange(1, steps + 1)
    return (read > 1) & ((steps - read if reverse else read - 1) % window == (window - 1 if reverse else 0))


def _located(frames: Iterator[SweptFrame], offset: int) -> Iterator[SweptFrame]:
    """The same frames; where they end in an adjoint that is not finite, its step is that of the recurrence."""
    try:
        yield from frames
    except AdjointNotFinite as error:
        raise error.changed(step=error.step + offset) from None


def derivatives_in_all(recurrence: Opened) -> int:
    """Bytes of the derivatives along a recurrence: of a chain of runs, once for all and once for each."""
    whole = bytes_of_derivatives(recurrence.cell, recurrence.trajectory)
    return whole * (1 if len(recurrence.runs) == 1 else 2)


def _bytes_of_rows(run: Run, input_needed: bool) -> int:
    """What a sweep takes for one source at a step, in reading, changing and writing."""
    size = run.hidden.element_size()
    states = sum(state[0].numel() for state in run.trajectory.states.values())
    widest = max(state[0].numel() for state in run.trajectory.states.values())
    # The rows, laid out anew while the old ones are there; what is written next; a product on its way.
    numbers = 2 * states + 2 * widest
    if input_needed:
        numbers += 2 * run.trajectory.input_pre[0].numel() + run.inputs[0].numel()
    return size * numbers + 8 * run.batch * (4 + 3 * len(run.trajectory.states))
