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
    # Every second band is a single lag, so that norms by lag are exact at them.
    assert int((bands.widths == 1).sum()) > len(bands) // 2
    assert bands.of(torch.tensor([0])).item() == bands.starts.tolist().index(0)
