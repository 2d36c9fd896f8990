import numpy as np
import pytest

from throughtime.report.scale import FLOAT32_SMALLEST, Scale, shared_scale


def test_all_maps_share_the_range_of_what_is_finite():
    scale = shared_scale([np.array([-3.0, -np.inf]), np.array([np.nan, 2.0])])
    assert (scale.low, scale.high, scale.below, scale.above) == (-3.0, 2.0, False, False)


def test_it_ends_where_float32_ends():
    scale = shared_scale([np.array([-500.0, 0.0, 300.0])])
    assert scale.low == FLOAT32_SMALLEST == pytest.approx(-87.3365)
    assert scale.high == pytest.approx(88.7228)
    assert scale.below and scale.above


def test_it_follows_what_lies_below_float32_altogether():
    assert shared_scale([np.array([-900.0, -300.0])]) == Scale(-900.0, -300.0)


@pytest.mark.parametrize("values", [[], [-np.inf], [np.nan], [2.0], [-400.0]])
def test_it_is_a_range_whatever_the_values(values):
    scale = shared_scale([np.array(values, dtype=float)])
    assert scale.low < scale.high
    assert len(scale.ticks) >= 2


@pytest.mark.parametrize("span", [0.013, 1.0, 7.7, 23.0, 87.0, 176.0])
def test_ticks_are_few_and_inside(span):
    ticks = Scale(-span, 0.0).ticks
    assert 3 <= len(ticks) <= 10
    assert all(-1e-6 <= position <= 1 + 1e-6 for position, _ in ticks)
    assert ticks[-1][1] == "0"
