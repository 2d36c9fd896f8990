"""What a recurrent module is called with, as one padded tensor (time, batch, features), and back again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence


@dataclass(frozen=True)
class Layout:
    """How the caller laid out a sequence.

    Args:
        batch_first: Whether the batch axis stood first.
        batched: Whether there was a batch axis.
        packed: The packed sequence, where it was one.
        lengths: Of the samples, where they differ or may differ.
    """

    batch_first: bool
    batched: bool
    packed: PackedSequence | None = None
    lengths: Int[Tensor, " batch"] | None = None

    @classmethod
    def read(cls, input: Tensor | PackedSequence, batch_first: bool) -> tuple[Tensor, Layout]:
        """The sequence as (time, batch, features), samples in the caller's order, and how it was laid out."""
        if isinstance(input, PackedSequence):
            sequence, lengths = pad_packed_sequence(input)
            return sequence, cls(batch_first, True, input, lengths)
        if input.dim() == 2:
            return input.unsqueeze(1), cls(False, False)
        return (input.transpose(0, 1) if batch_first else input), cls(batch_first, True)

    def written(self, sequence: Tensor) -> Tensor | PackedSequence:
        """A sequence (time, batch, features) laid out as the caller's was."""
        if self.packed is not None and self.lengths is not None:
            order = self.packed.sorted_indices
            lengths = self.lengths
            if order is not None:
                sequence, lengths = sequence.index_select(1, order), lengths.index_select(0, order.cpu())
            data = pack_padded_sequence(sequence, lengths).data
            return self.packed._replace(data=data)
        if not self.batched:
            return sequence.squeeze(1)
        return sequence.transpose(0, 1) if self.batch_first else sequence

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
    """

    reverse: bool
    lengths: Int[Tensor, " batch"] | None = None

    def order(self, in_sequence: Tensor, axis: int = 0) -> Tensor:
        """From the order of the sequence to the order of reading, or back."""
        return in_sequence.flip(axis) if self.reverse else in_sequence

    def waiting(self, steps: int) -> Int[Tensor, " batch"] | None:
        """For every sample the number of steps in reading order before it begins; None where none has to wait."""
        return steps - self.lengths if self.reverse and self.lengths is not None else None

    def running(self, steps: int) -> Bool[Tensor, "time batch"] | None:
        """Whether a sample is read at a step, in reading order; None where every sample is, at every step.

        A forward recurrence may run on into the padding: nothing reads what it does there.
        """
        waiting = self.waiting(steps)
        return None if waiting is None else torch.arange(steps).unsqueeze(1) >= waiting

    def begun_at_once(self, read: Float[Tensor, "time batch features"]) -> Tensor:
        """With every sample moved to the first step, as a kernel that knows no padding must have it."""
        return self._moved(read, 1)

    def begun_in_place(self, moved: Float[Tensor, "time batch features"]) -> Tensor:
        """The inverse of `begun_at_once`."""
        return self._moved(moved, -1)

    def _moved(self, sequence: Tensor, sign: int) -> Tensor:
        waiting = self.waiting(len(sequence))
        if waiting is None:
            return sequence
        index = (torch.arange(len(sequence)).unsqueeze(1) + sign * waiting) % len(sequence)
        return sequence.gather(0, index.to(sequence.device).unsqueeze(-1).expand_as(sequence))

    def last(self, hidden: Float[Tensor, "time batch hidden"]) -> Float[Tensor, "batch hidden"]:
        """The state at which every sample ends, from the states in the order of the sequence."""
        if self.reverse:
            return hidden[0]
        if self.lengths is None:
            return hidden[-1]
        index = (self.lengths - 1).to(hidden.device).reshape(1, -1, 1).expand(1, -1, hidden.shape[-1])
        return hidden.gather(0, index).squeeze(0)
