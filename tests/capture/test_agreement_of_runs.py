"""An opened model must compute what the user's own does, wherever along a sequence the two differ."""

import pytest
import torch

from throughtime.capture import ExaminationError, agreement
from throughtime.capture.agreement import check_outputs
from throughtime.capture.capture import Captured
from throughtime.capture.own_run import OwnRun


def compared(mine: torch.Tensor, theirs: torch.Tensor) -> None:
    losses = torch.ones(3)
    check_outputs(OwnRun({"gru": [theirs]}, {}, losses), Captured(None, [], {"gru": [mine]}), losses)


@pytest.mark.parametrize("at_once", [1, 10, 2**22])
@pytest.mark.parametrize("step", [0, 4, 6])
def test_a_difference_is_found_at_any_step(step, at_once, monkeypatch):
    monkeypatch.setattr(agreement, "NUMBERS_AT_ONCE", at_once)
    torch.manual_seed(0)
    theirs = torch.randn(7, 2, 3)
    other, not_finite = theirs.clone(), theirs.clone()
    other[step, 1, 2] += 2e-4 * theirs.abs().max()
    not_finite[step, 0, 0] = torch.nan
    compared(theirs.clone(), theirs)
    for mine in (other, not_finite):
        with pytest.raises(ExaminationError, match="recurrence 'gru' gave other outputs when opened, by "):
            compared(mine, theirs)


def test_rounding_is_no_difference():
    theirs = torch.randn(7, 2, 3)
    compared(theirs + 5e-5 * theirs.abs().max(), theirs)
    compared(torch.zeros(7, 2, 3), torch.zeros(7, 2, 3))
