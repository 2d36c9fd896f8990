"""What a recurrent module is called with, as one padded tensor (time, batch, features), and back again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from throughtime.unroll.packing import padded, repacked


@dataclass(frozen=True)
class Layout:
    """How the caller laid out a sequence.

    Args:
        batch_first: Whether the batch axis stood first.
        batched: Whether there was a batch axis.
        packed: The packed sequence, where it was one.
        lengths: Of the samples, where they differ or may differ, on the device of the sequence.
    """

    batch_first: bool
    batched: bool
    packed: PackedSequence | None = None
    lengths: Int[Tensor, " batch"] | None = None

    @classmethod
    def read(
        cls, input: Tensor | PackedSequence, batch_first: bool, lengths: Int[Tensor, " batch"] | None = None
    ) -> tuple[Tensor, Layout]:
        """The sequence as (time, batch, features), samples in the caller's order, and how it was laid out.

        What stands in the padding of a sequence with `lengths` is replaced by zeros: not even NaN there must count.
        """
        if isinstance(input, PackedSequence):
            sequence, lengths = padded(input)
            return sequence, cls(batch_first, True, input, lengths)
        if input.dim() == 2:
            return input.unsqueeze(1), cls(False, False)
        layout = cls(batch_first, True, lengths=lengths)
        return layout.unpadded(layout.time_first(input)), layout

    def time_first(self, given: Tensor) -> Tensor:
        """What the caller laid out like the sequence, as (time, batch, ...)."""
        if not self.batched:
            return given.unsqueeze(1)
        return given.transpose(0, 1) if self.batch_first else given

    def unpadded(self, sequence: Float[Tensor, "time batch features"]) -> Float[Tensor, "time batch features"]:
        """With zeros where a sample has ended."""
        if self.lengths is None:
            return sequence
        return sequence.masked_fill(~within(self.lengths, len(sequence)).unsqueeze(-1), 0)

    def written(self, sequence: Tensor) -> Tensor | PackedSequence:
        """A sequence (time, batch, features) laid out as the caller's was, with zeros in the padding."""
        if self.packed is not None:
            return repacked(sequence, self.packed)
        if not self.batched:
            return sequence.squeeze(1)
        sequence = self.unpadded(sequence)
        return sequence.transpose(0, 1) if self.batch_first else sequence

    def every_state(self, states: Float[Tensor, "layers time batch size"]) -> Tensor:
        """States of every layer and step as the caller expects them: padded where the sequence was packed."""
        if not self.batched:
            return states.squeeze(2)
        states = torch.stack([self.unpadded(layer) for layer in states.unbind(0)])
        return states.transpose(1, 2) if self.batch_first else states

    def dropped(self, sequence: Float[Tensor, "time batch features"], probability: float) -> Tensor:
        """Dropout, drawn for the same numbers in the same order as torch's layers draw it."""
        if self.packed is None:
            return functional.dropout(sequence, probability)
        data = functional.dropout(repacked(sequence, self.packed).data, probability)
        return padded(self.packed._replace(data=data))[0]

    def state_in(self, state: Tensor) -> Tensor:
        """A given initial state as (layers, batch, hidden)."""
        return state if self.batched else state.unsqueeze(1)

    def state_out(self, state: Tensor) -> Tensor:
        """A final state (layers, batch, hidden) as the caller expects it."""
        return state if self.batched else state.squeeze(1)


@dataclass(frozen=True)
class Reading:
    """The order in which a recurrence reads padded sequences.

    Steps are numbered 1..T for all samples alike, in reverse from T down. A sample that ends earlier is padded at the
    end of the sequence, which a reverse recurrence meets first: it rests at its initial state until the sample begins.

    Args:
        reverse: From the end.
        lengths: Of the samples; None where all are of full length.
        resets: Where a new sequence begins within a sample, in the order of the sequence. Neither direction passes
            anything over the border before such a step. None for nowhere.
    """

    reverse: bool
    lengths: Int[Tensor, " batch"] | None = None
    resets: Bool[Tensor, "time batch"] | None = None

    def order(self, in_sequence: Tensor, axis: int = 0) -> Tensor:
        """From the order of the sequence to the order of reading, or back."""
        return in_sequence.flip(axis) if self.reverse else in_sequence

    def waiting(self, steps: int) -> Int[Tensor, " batch"] | None:
        """For every sample the number of steps in reading order before it begins; None where none has to wait."""
        return steps - self.lengths if self.reverse and self.lengths is not None else None

    def ends(self, steps: int, batch: int) -> Int[Tensor, " batch"]:
        """For every sample the number of the last step that is read of it."""
        return torch.full((batch,), steps) if self.reverse or self.lengths is None else self.lengths.cpu()

    def running(self, steps: int) -> Bool[Tensor, "time batch"] | None:
        """Whether a sample is read at a step, in reading order; None where every sample is, at every step."""
        return None if self.lengths is None else self.order(within(self.lengths, steps))

    def starts(self) -> Bool[Tensor, "time batch"] | None:
        """Whether a step starts from zeros whatever was read before it, in the order of the sequence."""
        resets = self.resets
        if resets is None:
            return None
        if self.lengths is not None:
            resets = resets & within(self.lengths, len(resets))
        # Read from the end, it is the step before the border that starts anew.
        return torch.cat([resets[1:], torch.zeros_like(resets[:1])]) if self.reverse else resets

    def restarts(self) -> Bool[Tensor, "time batch"] | None:
        """The same in reading order."""
        starts = self.starts()
        return None if starts is None else self.order(starts)

    def windowed(self, sequence: Float[Tensor, "time batch features"], window: int) -> Tensor:
        """What was read last at every step, x_{t-window+1} .. x_t side by side; zeros where that was not of the sample.

        Args:
            sequence: In its own order, and so is the result, but a reverse recurrence reads x_{t+1} before x_t.
            window: How many steps.
        """
        if window == 1:
            return sequence
        running, restarts = self.running(len(sequence)), self.restarts()
        read = self.order(sequence)
        parts = [read if running is None else read.masked_fill(~running.unsqueeze(-1), 0)]
        for _ in range(window - 1):
            earlier = functional.pad(parts[0][:-1], (0, 0, 0, 0, 1, 0))
            parts.insert(0, earlier if restarts is None else earlier.masked_fill(restarts.unsqueeze(-1), 0))
        return self.order(torch.cat(parts, dim=-1))

    def begun_at_once(self, read: Float[Tensor, "time batch features"]) -> Tensor:
        """With every sample moved to the first step, as a kernel that knows no padding must have it."""
        return self._moved(read, 1)

    def begun_in_place(self, moved: Float[Tensor, "time batch features"]) -> Tensor:
        """The inverse of `begun_at_once`."""
        return self._moved(moved, -1)

    def resting(
        self, hidden: Float[Tensor, "time batch hidden"], initial: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "time batch hidden"]:
        """States in reading order, held where a sample rests: before it begins at the initial one, then at its last."""
        running = self.running(len(hidden))
        if running is None:
            return hidden
        held = initial if self.reverse else self.last(hidden)
        return torch.where(running.unsqueeze(-1), hidden, held)

    def _moved(self, sequence: Tensor, sign: int) -> Tensor:
        waiting = self.waiting(len(sequence))
        if waiting is None:
            return sequence
        index = (torch.arange(len(sequence), device=waiting.device).unsqueeze(1) + sign * waiting) % len(sequence)
        return sequence.gather(0, index.unsqueeze(-1).expand_as(sequence))

    def last(self, hidden: Float[Tensor, "time batch hidden"]) -> Float[Tensor, "batch hidden"]:
        """The state at which every sample ends, from the states in the order of the sequence."""
        if self.reverse:
            return hidden[0]
        if self.lengths is None:
            return hidden[-1]
        index = (self.lengths - 1).reshape(1, -1, 1).expand(1, -1, hidden.shape[-1])
        return hidden.gather(0, index).squeeze(0)


def within(lengths: Int[Tensor, " batch"], steps: int) -> Bool[Tensor, "time batch"]:
    """Whether a sample has not ended yet, by step."""
    return torch.arange(steps, device=lengths.device).unsqueeze(1) < lengths
