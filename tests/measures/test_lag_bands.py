import pytest
import torch

from throughtime.measures import LagBands


def test_few_lags_stand_alone():
    bands = LagBands.covering(0, 9, at_most=10)
    assert bands.starts.tolist() == list(range(10)) and bands.widths.tolist() == [1] * 10


def test_many_lags_are_banded_without_a_gap():
    bands = LagBands.covering(-50, 999, at_most=10)
    assert int(bands.widths.sum()) == 1050 and int(bands.starts[0]) == -50 and bands.end == 1000
    assert len(bands) < 400
    lags = torch.arange(-50, 1000)
    band = bands.of(lags)
    assert ((bands.starts[band] <= lags) & (lags < bands.starts[band] + bands.widths[band])).all()
    assert bands.of(torch.tensor([0])).item() == bands.starts.tolist().index(0)


@pytest.mark.parametrize("at_most", [20, 24, 40, 80, 150])
def test_as_fine_as_allowed(at_most):
    bands = LagBands.covering(0, 199, at_most)
    assert len(bands) <= at_most
    assert int(bands.widths.sum()) == 200
    # A single lag in every factor of two, so that norms by lag are exact at them, up to the last.
    alone = bands.starts[bands.widths == 1].double()
    assert (alone[2:] <= 2 * alone[1:-1] + 1).all() and alone[-1] >= 100
