"""Which picture a verdict and a number are seen in."""

import pytest
import torch

import throughtime as tt
from throughtime.findings import VERDICTS
from throughtime.report.pictures import PICTURES, picture_of, shown_in
from throughtime.report.readings import readings


@pytest.fixture
def reading(everything):
    (reading,) = readings({"": everything})
    return reading


@pytest.mark.parametrize("verdict", [*VERDICTS, "saturated", "closed-gate", "some verdict to come"])
def test_every_verdict_has_a_picture_that_can_be_drawn(reading, linear, verdict):
    assert PICTURES[picture_of(verdict, reading)].draw([reading]).data
    (bare,) = readings({"": linear()})
    assert PICTURES[picture_of(verdict, bare)].draw([bare]).data


def test_a_verdict_on_gates_is_seen_in_the_gates_where_there_are_any(reading, linear):
    assert picture_of("saturated", reading) == "gates"
    (bare,) = readings({"": linear()})
    assert picture_of("saturated", bare) == "lag_profile"


def test_a_quantity_is_found_by_the_name_of_its_variable(reading):
    assert shown_in("change of lag_profile", reading) == "lag_profile"
    assert shown_in("saturation", reading) == "gates"
    assert shown_in("a number of nothing", reading) is None


def test_every_variable_of_an_examination_is_shown_in_a_picture():
    torch.manual_seed(0)
    inputs = torch.randn(8, 2, 3)
    exam = tt.examine(tt.LSTM(3, 4), inputs, inputs.sum(-1), loss=lambda output, targets: output[0].sum((1, 2)))
    (reading,) = readings({"": exam})
    assert {name for name in exam["l0"] if shown_in(name, reading) is None} == set()
