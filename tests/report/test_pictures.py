"""Which picture a verdict and a number are seen in."""

import pytest
import torch

import throughtime as tt
from throughtime.findings import VERDICTS, Finding, Number
from throughtime.report.pictures import _OF_VERDICT, PICTURES, picture_of, shown_in
from throughtime.report.readings import readings


@pytest.fixture
def reading(everything):
    (reading,) = readings({"": everything})
    return reading


def found(verdict, *quantities):
    return Finding(verdict, "l0", 2, "", numbers=tuple(Number(quantity, 1.0) for quantity in quantities))


@pytest.mark.parametrize("verdict", [*VERDICTS, "some verdict to come"])
def test_every_verdict_has_a_picture_that_can_be_drawn(reading, linear, verdict):
    assert PICTURES[picture_of(found(verdict), reading)].draw([reading]).data
    (bare,) = readings({"": linear()})
    assert PICTURES[picture_of(found(verdict), bare)].draw([bare]).data


def test_every_verdict_that_has_a_picture_of_its_own_is_one(reading):
    assert set(_OF_VERDICT) <= set(VERDICTS)


def test_a_verdict_is_seen_where_there_is_anything_to_see(reading, linear):
    assert picture_of(found("saturated"), reading) == "gates"
    (bare,) = readings({"": linear()})
    assert picture_of(found("saturated"), bare) == "lag_profile"


def test_a_verdict_without_a_picture_is_seen_in_that_of_its_first_number(reading):
    number = "change of sample_profile, sample 3"
    assert picture_of(found("some verdict to come", number, "change of lag_profile"), reading) == "sample_profile"
    assert picture_of(found("some verdict to come", "a number of nothing"), reading) == "lag_profile"


def test_a_quantity_is_found_by_the_name_of_its_variable(reading):
    assert shown_in("change of lag_profile", reading) == "lag_profile"
    assert shown_in("saturation", reading) == "gates"
    assert shown_in("truncation_error_interval", reading) == "truncation_error"
    assert shown_in("units whose keep gate never closes", reading) == "gate_range"
    assert shown_in("nats of activation slope", reading) == "mean_causes"
    assert shown_in("a number of nothing", reading) is None


def test_every_variable_of_an_examination_is_shown_in_a_picture():
    torch.manual_seed(0)
    inputs = torch.randn(8, 2, 3)
    exam = tt.examine(tt.LSTM(3, 4), inputs, inputs.sum(-1), loss=lambda output, targets: output[0].sum((1, 2)))
    (reading,) = readings({"": exam})
    assert {name for name in exam["l0"] if shown_in(name, reading) is None} == set()
