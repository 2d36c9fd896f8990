"""At which steps the losses read a recurrence, from where their lags are counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from throughtime.adjoint.wiring import Wiring
from throughtime.notation import turned


class ReadSteps:
    """What the losses read of every recurrence, directly or through others; steps are those in reading order.

    Args:
        wiring: The recurrences, the losses, and what leads from one to the other.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring, self._parts = wiring, wiring.parts
        self._losses = len(wiring.losses)

    def last(self, index: int, sources: Int[Tensor, " source"]) -> Int[Tensor, " source"]:
        """For every source, the last step whose state its loss reads directly.

        Where it reads the recurrence only through others of as many steps, the last that stands beside such a step of
        theirs; else the last step of all.
        """
        found, through = self._read_directly(index, sources), torch.zeros_like(sources)
        for other in self._read_through(index):
            through = torch.maximum(through, self._beside(index, other, self.last(other, sources)))
        found = torch.where(found > 0, found, through)
        return torch.where(found > 0, found, self._wiring.recurrences[index].steps)

    def _read_directly(self, index: int, sources: Int[Tensor, " source"]) -> Int[Tensor, " source"]:
        """The last step whose state every source reads directly, 0 for none."""
        found = torch.zeros_like(sources)
        if index in self._wiring.loops:
            return torch.maximum(found, self._wiring.loops[index].last_reached(sources))
        for place, part in self._wiring.parts_of(index):
            if place in self._wiring.to_losses:
                entering = self._wiring.to_losses[place].from_losses(sources)
                first = torch.stack([one.first for one in entering]).max(dim=0).values
                found = torch.where(first > 0, torch.maximum(found, first + part.offset), found)
        return found

    def _read_through(self, index: int) -> set[int]:
        """The recurrences of as many steps that read one, and not its end only, and that the losses depend on."""
        steps = self._wiring.recurrences[index].steps
        return {
            self._parts[other].index
            for place, part in self._wiring.parts_of(index)
            for other in self._wiring.above[place]
            if self._parts[other].index != index
            and self._wiring.recurrences[self._parts[other].index].steps == steps
            and self._wiring.reached(self._parts[other].index)
            and not all(segment.reads_the_end_only for segment in self._wiring.between(place, other))
        }

    def _beside(self, index: int, other: int, steps: Tensor) -> Tensor:
        """The steps of a recurrence that stand beside those of another one with as many."""
        one, another = self._wiring.recurrences[index], self._wiring.recurrences[other]
        return turned(steps, one.steps, one.reverse != another.reverse)

    def out_of_step(self, index: int) -> Int[Tensor, " source"] | None:
        """For every loss, the last step whose state it reads, where that is not its own step.

        So it is where a sequence is turned around by hand, or an encoder is read at its end by a decoder that has as
        many steps. None where losses that read later steps than their own read that one, too, or may.
        """
        if index in self._wiring.loops:
            return self._wiring.loops[index].out_of_step()
        recurrence, labels = self._wiring.recurrences[index], torch.arange(1, self._losses + 1)
        own = turned(labels, recurrence.steps, recurrence.reverse)
        last = self.single(index, 0)
        if last is None:
            return None
        read, ahead = last > 0, last > own
        around = read.sum() > 1 and (last == turned(own, recurrence.steps, True))[read].all()
        elsewhere = around or (ahead.any() and not self._in_step(index, own)[ahead].any())
        return torch.where(read, last, own) if elsewhere else None

    def single(self, index: int, otherwise: int | None = None) -> Int[Tensor, " source"] | None:
        """For every loss, the one step at which it reads an opened recurrence, of several runs the last.

        None where losses read several steps, or that is not known.

        Args:
            index: Of the recurrence.
            otherwise: What stands for a loss that reads none; its last step by default.
        """
        if index in self._wiring.loops:
            return None
        last = torch.zeros(self._losses, dtype=torch.long)
        for place, part in self._wiring.parts_of(index):
            here = self._single[place]
            if here is None:
                return None
            last = torch.maximum(last, (here + part.offset) * (here > 0))
        return torch.where(last > 0, last, self._wiring.recurrences[index].steps if otherwise is None else otherwise)

    def reads_one_step(self, index: int) -> bool:
        """Whether it is certain that every loss reads one step of a recurrence only, of all of its runs."""
        if index in self._wiring.loops:
            return False
        found = [self._single[place] for place, _ in self._wiring.parts_of(index)]
        known = [here for here in found if here is not None]
        return len(known) == len(found) and bool((torch.stack(known) > 0).sum(0).max() <= 1)

    def last_by_sample(self, index: int) -> Int[Tensor, " batch"] | None:
        """The last step at which the only loss reads the states of every sample.

        Directly, or through recurrences above that read step by step; what is read in another way counts as read to its
        end. 0 for a sample that is read nowhere. None of several losses.
        """
        if self._losses > 1:
            return None
        if index in self._wiring.loops:
            return self._wiring.loops[index].last_read_by_sample()
        found = torch.zeros(self._wiring.recurrences[index].batch, dtype=torch.long)
        for place, part in self._wiring.parts_of(index):
            last = self._last_by_sample[place]
            # Of a packed sequence, later runs may hold fewer samples, the first ones.
            here = found[: len(last)]
            torch.maximum(here, (last + part.offset) * (last > 0), out=here)
        return found

    def causal(self, index: int) -> bool:
        """Whether it is certain that no loss reaches a state later than its own step.

        So it is where every segment above keeps to its step and everything above reads in the same direction.
        """
        places = [place for place, _ in self._wiring.parts_of(index)]
        return len(places) == 1 and self._causal(places[0])

    def _in_step(self, index: int, own: Int[Tensor, " source"]) -> Bool[Tensor, " source"]:
        """Whether a loss reads a recurrence at its own step, among others."""
        found = torch.zeros(self._losses, dtype=torch.bool)
        for place, part in self._wiring.parts_of(index):
            here = self._single[place]
            if here is not None:
                found |= (here > 0) & (here + part.offset == own)
        return found

    @cached_property
    def _single(self) -> list[Int[Tensor, " source"] | None]:
        """For every run and loss, the one of its own steps at which the loss reads it, 0 for none.

        Directly or through other recurrences; None for a run of which losses read several steps.
        """
        found: list[Tensor | None] = [None] * len(self._parts)
        for place in reversed(range(len(self._parts))):
            steps = torch.zeros(self._losses, dtype=torch.long)
            for one in self._ways(place, found):
                if one is None or bool(((one > 0) & (steps > 0) & (one != steps)).any()):
                    break
                steps = torch.maximum(steps, one)
            else:
                found[place] = steps
        return found

    def _ways(self, place: int, found: Sequence[Tensor | None]) -> Iterator[Tensor | None]:
        """The same by every way from the losses to a run, but for that through its own recurrence."""
        if place in self._wiring.to_losses:
            yield self._wiring.to_losses[place].steps_read
        for other in self._wiring.above[place]:
            if self._parts[other].index != self._parts[place].index:
                yield self._through(place, other, found[other])

    def _through(self, place: int, above: int, read: Int[Tensor, " source"] | None) -> Int[Tensor, " source"] | None:
        """The same of what is read by way of a run above."""
        if all(segment.reads_the_end_only for segment in self._wiring.between(place, above)):
            return self._parts[place].run.steps * self._reading[above]
        return read if self._wiring.in_step(place, above) else None

    @cached_property
    def _reading(self) -> list[Bool[Tensor, " source"]]:
        """For every run, which losses depend on it at all, or may."""
        found = [torch.zeros(self._losses, dtype=torch.bool) for _ in self._parts]
        for place in reversed(range(len(self._parts))):
            if place in self._wiring.to_losses:
                read = self._wiring.to_losses[place].steps_read
                found[place] |= torch.tensor(True) if read is None else read > 0
            for other in self._wiring.above[place]:
                found[place] |= found[other]
        return found

    @cached_property
    def _last_by_sample(self) -> list[Int[Tensor, " batch"]]:
        """For every run, the last of its own steps at which the only loss reads a sample."""
        found = [torch.zeros(part.run.batch, dtype=torch.long) for part in self._parts]
        for place in reversed(range(len(self._parts))):
            if place in self._wiring.to_losses:
                for entering in self._wiring.to_losses[place].from_losses(torch.zeros(1, dtype=torch.long)):
                    found[place] = torch.maximum(found[place], entering.last_by_sample())
            reader = self._parts[place].run
            for below in self._wiring.feeding(place):
                run, between = self._parts[below].run, self._wiring.between(below, place)
                alike = reader.batch == run.batch
                if self._wiring.side_by_side(below, place):
                    last = turned(found[place], run.steps, reader.reverse != run.reverse)
                    last *= found[place] > 0
                elif alike and (not between or self._parts[below].index == self._parts[place].index):
                    # It goes on from the states in which the samples ended.
                    last = run.reading.ends(run.steps, run.batch) * (found[place] > 0)
                else:
                    last = run.reading.ends(run.steps, run.batch) * bool((found[place] > 0).any())
                found[below] = torch.maximum(found[below], last)
        return found

    def _causal(self, place: int) -> bool:
        run, to_losses = self._parts[place].run, self._wiring.to_losses.get(place)
        above = self._wiring.above[place]
        if to_losses is not None and not to_losses.single:
            if to_losses.read_at is None:
                return False
            if len(to_losses.read_at) != run.steps:
                # Lags are counted from what is read directly; what is above may read later steps.
                return not above
            if not ((to_losses.read_at < 0) | (to_losses.read_at == torch.arange(run.steps))).all():
                return False
        return all(
            self._causal(other) and (self._wiring.in_step(place, other) or not self._wiring.between(place, other))
            for other in above
        )
