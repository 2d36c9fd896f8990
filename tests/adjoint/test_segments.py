"""How a segment tells losses and positions apart."""

import math

import pytest
import torch

from throughtime.adjoint.segments import _numbers, _sets


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 20, 21, 252, 1000])
def test_numbers_in_as_few_sets_as_there_can_be(count):
    """Sperner's theorem: of n sets, no more than C(n, n // 2) combinations contain none of the others."""
    sets = _sets(count)
    assert math.comb(len(sets), len(sets) // 2) >= count
    assert len(sets) == 1 or math.comb(len(sets) - 1, (len(sets) - 1) // 2) < count
    each = sets.sum(0)
    assert (each == each[0]).all()
    assert len(sets.T.unique(dim=0)) == count
    assert _numbers(sets).tolist() == list(range(count))


def test_two_numbers_together_are_in_more_sets_than_one():
    sets = _sets(20)
    first, second = torch.combinations(torch.arange(20)).T
    assert ((sets[:, first] | sets[:, second]).sum(0) > sets[:, 0].sum()).all()
