"""All recurrences of a model: the film played through every one of them, from the last that ran to the first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint.entering import Entering
from throughtime.adjoint.pullback import Pullback
from throughtime.adjoint.segments import InputAdjoint, Segment
from throughtime.adjoint.sweep import Frame, sweep
from throughtime.adjoint.to_inputs import ToInputs
from throughtime.capture import Recurrence


@dataclass(frozen=True)
class Playing:
    """One recurrence about to be played for some sources.

    Args:
        index: Which recurrence.
        frames: Its film, to be drawn to the end.
    """

    index: int
    frames: Iterator[Frame]


class Network:
    """The recurrences of a captured run, the losses, and the segments of ordinary autograd between them.

    Args:
        recurrences: In the order of execution.
        losses: One loss per step, on the cut graph.
    """

    def __init__(self, recurrences: Sequence[Recurrence], losses: Float[Tensor, " source"]) -> None:
        self.recurrences = list(recurrences)
        with torch.no_grad():
            self.pullbacks = [Pullback(r.cell, r.weights, r.trajectory) for r in self.recurrences]
        self._to_losses = [Segment(recurrence, losses) for recurrence in self.recurrences]
        self._between: dict[tuple[int, int], Segment] = {}
        for above, recurrence in enumerate(self.recurrences):
            for end in (recurrence.inputs, *recurrence.initial.values()):
                for below in range(above):
                    segment = Segment(self.recurrences[below], end)
                    if segment.connected:
                        self._between[below, id(end)] = segment

    def reached(self, index: int) -> bool:
        """Whether the losses depend on a recurrence at all, directly or through others."""
        return self._to_losses[index].connected or any(
            self.reached(above) for above in range(index + 1, len(self.recurrences)) if self._feeds(index, above)
        )

    def causal(self, index: int) -> bool:
        """Whether it is certain that no loss reaches a state later than its own step.

        So it is where every segment above keeps to its step and everything above reads in the same direction.
        """
        to_losses = self._to_losses[index]
        above = [other for other in range(index + 1, len(self.recurrences)) if self._feeds(index, other)]
        if to_losses.connected and not to_losses.single:
            read_at, steps = to_losses.read_at, self.recurrences[index].steps
            if read_at is None:
                return False
            if len(read_at) != steps:
                # Lags are counted from what is read directly; what is above may read later steps.
                return not above
            if not ((read_at < 0) | (read_at == torch.arange(steps))).all():
                return False
        return all(
            self.causal(other)
            and self.recurrences[other].reverse == self.recurrences[index].reverse
            and all(self._between[key].local for key in self._keys(index, other))
            for other in above
        )

    def bytes_per_source(self) -> int:
        """What the adjoints of one source take at once: those of a step, and those that pass between recurrences."""
        total = 0
        for index, recurrence in enumerate(self.recurrences):
            others = range(len(self.recurrences))
            numbers = recurrence.trajectory.input_pre[0].numel() + 4 * recurrence.hidden[0].numel()
            if any(self._feeds(other, index) for other in others if other < index):
                numbers += recurrence.inputs.numel()
            local = self._to_losses[index].read_at is not None or not self._to_losses[index].connected
            if not local or any(self._feeds(index, other) for other in others if other > index):
                numbers += 2 * recurrence.hidden.numel()
            total += numbers * recurrence.hidden.element_size()
        return total

    def last_read(self, index: int, sources: Int[Tensor, " source"]) -> Int[Tensor, " source"]:
        """For every source, the last step in reading order whose state its loss reads directly.

        The last step of all where the loss is a scalar, or reads the recurrence only through others.
        """
        steps, to_losses = self.recurrences[index].steps, self._to_losses[index]
        if to_losses.single or not to_losses.connected:
            return torch.full_like(sources, steps)
        first = [part.first for part in to_losses.from_losses(sources)]
        found = torch.stack(first).max(dim=0).values
        return torch.where(found > 0, found, steps)

    def entering(self, index: int, sources: Int[Tensor, " source"], above: Sequence[InputAdjoint]) -> list[Entering]:
        """What enters a recurrence directly.

        Args:
            index: Which recurrence.
            sources: Indices into the losses.
            above: The adjoints of what later recurrences read.
        """
        entering = []
        if self._to_losses[index].connected:
            entering += self._to_losses[index].from_losses(sources)
        for adjoint in above:
            segment = self._between.get((index, id(adjoint.end)))
            if segment is not None:
                entering += segment.from_above(adjoint)
        return entering

    def play(self, sources: Int[Tensor, " source"], last_steps: Sequence[Int[Tensor, " source"]]) -> Iterator[Playing]:
        """Every recurrence that the losses depend on, from the last to the first.

        Args:
            sources: Indices into the losses.
            last_steps: For every recurrence, the smallest step to which each source is followed.
        """
        above: list[InputAdjoint] = []
        for index in reversed(range(len(self.recurrences))):
            if not self.reached(index):
                continue
            recurrence = self.recurrences[index]
            below = any(self._feeds(other, index) for other in range(index))
            collector = ToInputs(recurrence, len(sources)) if below else None
            entering = self.entering(index, sources, above)
            frames = sweep(self.pullbacks[index], entering, len(sources), last_steps[index])
            yield Playing(index, _collected(frames, collector))
            if collector is not None:
                above += collector.result()

    def _keys(self, below: int, above: int) -> list[tuple[int, int]]:
        recurrence = self.recurrences[above]
        keys = [(below, id(end)) for end in (recurrence.inputs, *recurrence.initial.values())]
        return [key for key in keys if key in self._between]

    def _feeds(self, below: int, above: int) -> bool:
        return bool(self._keys(below, above))


def _collected(frames: Iterator[Frame], collector: ToInputs | None) -> Iterator[Frame]:
    for frame in frames:
        if collector is not None:
            collector.update(frame)
        yield frame
