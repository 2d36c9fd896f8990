"""Packed sequences to padded ones and back, each by one copy: torch's own ways back take one for every step."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


def padded(packed: PackedSequence) -> tuple[Float[Tensor, "time batch features"], Int[Tensor, " batch"]]:
    """The sequence with zeros behind every sample, and the samples' lengths, both in the caller's order of samples."""
    steps, batch = len(packed.batch_sizes), int(packed.batch_sizes[0])
    rows = packed.data.new_zeros(steps * batch, packed.data.shape[-1]).index_copy(0, _places(packed), packed.data)
    lengths = _running(packed).sum(0).to(packed.data.device)
    if packed.unsorted_indices is not None:
        lengths = lengths[packed.unsorted_indices]
    return rows.unflatten(0, (steps, batch)), lengths


def repacked(sequence: Float[Tensor, "time batch features"], like: PackedSequence) -> PackedSequence:
    """A padded sequence, packed in the way another one was."""
    return like._replace(data=sequence.flatten(0, 1).index_select(0, _places(like)))


def _running(packed: PackedSequence) -> Tensor:
    """Whether a sample has not ended, (time, batch), longest samples first."""
    return torch.arange(int(packed.batch_sizes[0]), device="cpu") < packed.batch_sizes.unsqueeze(1)


def _places(packed: PackedSequence) -> Int[Tensor, " rows"]:
    """Where every row of the data stands among all steps of all samples."""
    steps, batch = len(packed.batch_sizes), int(packed.batch_sizes[0])
    order = torch.arange(batch, device="cpu") if packed.sorted_indices is None else packed.sorted_indices.cpu()
    return (batch * torch.arange(steps, device="cpu").unsqueeze(1) + order)[_running(packed)].to(packed.data.device)
