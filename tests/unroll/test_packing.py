"""Packing and padding against torch's own, forward and backward."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from throughtime.unroll.packing import padded, repacked


@pytest.mark.parametrize(("lengths", "enforce_sorted"), [([5, 3, 3, 1], True), ([2, 5, 1, 4], False), ([5], True)])
def test_like_torchs(lengths: list[int], enforce_sorted: bool) -> None:
    torch.manual_seed(0)
    sequence = torch.randn(5, len(lengths), 3, dtype=torch.float64, requires_grad=True)
    packed = pack_padded_sequence(sequence, torch.tensor(lengths), enforce_sorted=enforce_sorted)
    expected, expected_lengths = pad_packed_sequence(packed)
    found, found_lengths = padded(packed)
    assert torch.equal(found, expected)
    assert torch.equal(found_lengths, expected_lengths)
    again = repacked(found, packed)
    assert torch.equal(again.data, packed.data)
    for ours, theirs in ((found, expected), (again.data, packed.data)):
        gradients = (torch.autograd.grad(one.sin().sum(), sequence, retain_graph=True)[0] for one in (ours, theirs))
        assert torch.equal(*gradients)
