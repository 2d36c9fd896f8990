import numpy as np
import pytest

from throughtime.report.scale import COLOURS, FLOAT32_SMALLEST, Scale, shared_scale

# What is left of linear RGB for those without the long-, the medium- or the short-wave cones (Machado, Oliveira,
# Fernandes 2009, A physiologically-based model for simulation of color vision deficiency, severity 1).
SEEN = {
    "with all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def lightness(colours, seen):
    """CIE L* of "#rrggbb" colours, 0 to 100."""
    srgb = np.array([[int(colour[start : start + 2], 16) for start in (1, 3, 5)] for colour in colours]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    luminance = np.clip(linear @ np.transpose(seen), 0, 1) @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > (6 / 29) ** 3, 116 * np.cbrt(luminance) - 16, luminance * (29 / 3) ** 3)


@pytest.mark.parametrize("seen", SEEN)
def test_the_colours_grow_lighter_evenly_in_grey_and_for_the_colour_blind(seen):
    steps = np.diff(lightness(COLOURS, SEEN[seen]))
    # L* spans 75 of 100 or more, and no tenth of the scale takes less than half of its even part of that.
    assert steps.sum() > 70
    assert steps.min() > 0.5 * steps.mean()


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
