"""All recurrences of a model: the film played through every one of them, from the last that ran to the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from throughtime.adjoint.derivatives import bytes_of_derivatives
from throughtime.adjoint.entering import AtOneStep, Entering
from throughtime.adjoint.pullback import Pullback
from throughtime.adjoint.read_steps import ReadSteps
from throughtime.adjoint.segments import InputAdjoint
from throughtime.adjoint.sweep import Frame, SweptFrame, sweep
from throughtime.adjoint.to_inputs import ToInputs
from throughtime.adjoint.wiring import Wiring
from throughtime.capture import AdjointNotFinite, Opened, Recurrence, Run


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


class Network:
    """The recurrences of a captured run, played one after the other.

    Args:
        recurrences: In the order in which they began.
        losses: One loss per step, on the cut graph.

    Attributes:
        wiring: What of them depends on what.
        read_steps: At which steps the losses read them.
        pullbacks: By index of a recurrence whose equations are known, its step pullbacks; see `differentiate`.
    """

    def __init__(self, recurrences: Sequence[Recurrence], losses: Float[Tensor, " source"]) -> None:
        self.recurrences = list(recurrences)
        self.wiring = Wiring(recurrences, losses)
        self.read_steps = ReadSteps(self.wiring)
        self.pullbacks: dict[int, Pullback] = {}
        # By place of a run, its own.
        self._own_pullbacks: dict[int, Pullback] = {}

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
            for place, part in enumerate(self.wiring.parts):
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
        for place, part in enumerate(self.wiring.parts):
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

    def bytes_per_source(self) -> int:
        """What is followed of one source takes at most: the film's rows, and what enters and leaves the recurrences."""
        entering, most = [0] * len(self.wiring.parts), 0
        for place in reversed(range(len(self.wiring.parts))):
            if not self.wiring.reached_runs[place]:
                continue
            run, needed = self.wiring.parts[place].run, self.wiring.reads_input(place)
            if place in self.wiring.to_losses:
                entering[place] += self.wiring.to_losses[place].bytes_from_losses()
            left = ToInputs.bytes_per_source(run, needed)
            most = max(most, sum(entering) + left + _bytes_of_rows(run, needed))
            for end in run.ends:
                for below, segment in self.wiring.below(place, end).items():
                    entered, on_the_way = segment.bytes_from_above(left)
                    entering[below] += entered
                    most = max(most, sum(entering) + on_the_way)
            # A loop takes them in at its end.
            entering[place] = left if self.wiring.loops else 0
        return most + sum(one.bytes_per_source for one in self.wiring.loops.values())

    def bytes_at_once(self) -> int:
        """What is made at once on the way between recurrences, whatever the number of sources."""
        return max((segment.bytes_at_once for segment in self.wiring.segments), default=0)

    def play(self, sources: Int[Tensor, " source"], last_steps: Sequence[Int[Tensor, " source"]]) -> Iterator[Playing]:
        """Every recurrence that the losses depend on, from the last run to the first.

        Args:
            sources: Indices into the losses.
            last_steps: For every recurrence, the smallest step to which each source is followed.
        """
        entering: list[list[Entering]] = [[] for _ in self.wiring.parts]
        above: list[InputAdjoint] = []
        read: dict[int, Tensor] = {}
        for place in reversed(range(len(self.wiring.parts))):
            if not self.wiring.reached_runs[place]:
                continue
            part = self.wiring.parts[place]
            if place in self.wiring.to_losses:
                entering[place] += self.wiring.to_losses[place].from_losses(sources)
            collector = ToInputs(part.run, len(sources), self.wiring.reads_input(place))
            last = (last_steps[part.index] - part.offset).clamp(min=0)
            # However few steps are shown, what is below may need all of them.
            needed = self.wiring.reads_by_all_steps(part.index) and bool((last > 0).any())
            followed = torch.zeros_like(last) if needed else last
            frames = sweep(self._own_pullbacks[place], entering[place], len(sources), followed)
            read[place] = self._read(place, entering[place], read)
            states = part.run.steps + (part.offset == 0)
            shown = self._shown(place, frames, collector, last if needed else None)
            yield Playing(part.index, states, shown, self._of_recurrence(place, read[place]))
            self._pass_on(place, collector, entering, above)
            entering[place] = []
        for index, film in self.wiring.loops.items():
            if self.wiring.reached(index):
                yield Playing(index, self.recurrences[index].steps + 1, *film.play(sources, above, last_steps[index]))

    def outside(self, index: int, sources: Int[Tensor, " source"]) -> dict[str, Tensor]:
        """By weight of a loop, the gradient that comes from where the rest of the model works with it."""
        return self.wiring.loops[index].outside(sources) if index in self.wiring.loops else {}

    def _read(
        self, place: int, entering: Sequence[Entering], above: Mapping[int, Tensor]
    ) -> Bool[Tensor, "source batch"]:
        """Whether a source reads a sample of a run; what enters from above is known as far as it was followed only."""
        found = torch.stack([one.reads() for one in entering]).any(0)
        for other in self.wiring.above[place]:
            if other in above:
                theirs = above[other]
                if theirs.shape != found.shape:
                    theirs = theirs.any(1, keepdim=True)
                found = found | theirs
        return found

    def _of_recurrence(self, place: int, read: Bool[Tensor, "source batch"]) -> Bool[Tensor, "source batch"]:
        """Of a later run of a packed sequence, which may hold fewer samples, the first ones."""
        batch = self.recurrences[self.wiring.parts[place].index].batch
        return torch.nn.functional.pad(read, (0, batch - read.shape[1]))

    def _shown(
        self, place: int, frames: Iterator[SweptFrame], collector: ToInputs, last: Int[Tensor, " source"] | None
    ) -> Iterator[Frame]:
        """To the last step of every source, or as far as they were followed."""
        part = self.wiring.parts[place]
        whole = self.pullbacks[part.index]
        for frame in _located(_collected(frames, collector), part.offset):
            if last is not None:
                shown = (last[frame.sources] <= frame.step).nonzero().squeeze(-1)
                if not len(shown):
                    continue
                frame = frame.only(shown)
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
        run, adjoints = self.wiring.parts[place].run, []
        if self.wiring.reads_input(place):
            adjoints.append(collector.inputs())
        starts = collector.starts()
        if run.unbroken:
            before = self.wiring.before(place)
            steps = torch.full((len(next(iter(starts.values())).values),), self.wiring.parts[before].run.steps)
            entering[before] += [
                AtOneStep(start.values, steps, state, start.log_scale) for state, start in starts.items()
            ]
        else:
            adjoints += starts.values()
        for adjoint in adjoints:
            for below, segment in self.wiring.below(place, adjoint.end).items():
                entering[below] += segment.from_above(adjoint)
        if self.wiring.loops:
            above += [adjoint for adjoint in adjoints if adjoint.end.requires_grad]


def _begins(window: int, steps: int, reverse: bool) -> Bool[Tensor, " time"]:
    """Whether a step, in reading order, begins a window and not the sequence; windows are counted from step 1."""
    read = torch.arange(1, steps + 1)
    return (read > 1) & ((steps - read if reverse else read - 1) % window == (window - 1 if reverse else 0))


def _collected(frames: Iterator[SweptFrame], collector: ToInputs) -> Iterator[SweptFrame]:
    """The same frames, after what leaves the recurrence has been taken from them."""
    for frame in frames:
        collector.update(frame)
        yield frame


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


def derivatives_at_a_step(recurrence: Opened) -> int:
    """The same at a single step: of a chain of runs, of the whole and of each."""
    runs = len(recurrence.runs)
    at_a_step = bytes_of_derivatives(recurrence.cell, recurrence.trajectory) // recurrence.steps
    return at_a_step * (1 if runs == 1 else 1 + runs)


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
