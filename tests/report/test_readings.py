import math
from dataclasses import replace

import pytest

from throughtime.report.readings import MOST, NEARLY_ALL, number, readings


def only(exam, network=""):
    (reading,) = readings({network: exam})
    return reading


def test_reach_is_the_window_of_the_closed_form(linear):
    reading = only(linear(0.5))
    assert reading.window(MOST) == 3
    assert reading.window(NEARLY_ALL) == 6
    assert reading.learns == "learns from the last 6 of 12 steps"


def test_all_steps_are_called_all(linear):
    exam = linear(1.0)
    exam["l0"]["truncation_error"][:-1] = 0.5
    assert only(exam).learns == "learns from all 12 steps"
    assert not only(exam).stops_short


def test_a_reverse_recurrence_learns_from_what_follows(linear):
    assert only(linear(0.5, reverse=True)).learns == "learns from the next 6 of 12 steps"


def test_a_halving_gradient_is_said_to_halve_every_step(linear):
    assert only(linear(0.5)).decays == "Its gradient halves every step (−0.69 nats per step)."


def test_a_growing_gradient_doubles(linear):
    assert only(linear(2**0.1)).decays == "Its gradient doubles every 10 steps (0.069 nats per step)."


def test_a_gradient_that_keeps_its_size(linear):
    assert only(linear(1.0)).decays.startswith("Its gradient keeps its size")


def test_no_gradient_at_all_is_said(linear):
    exam = linear(0.5)
    exam["l0"]["truncation_error"][:] = math.nan
    exam["l0"]["gradient_share"][:] = math.nan
    exam["l0"]["gradient_map"][:] = -math.inf
    assert only(exam).learns == "learns nothing: its weights get no gradient"
    assert only(exam).stops_short


def test_what_is_learned_on_both_sides_is_said(linear):
    exam = linear(0.5)
    share = exam["l0"]["gradient_share"]
    shifted = exam["l0"].assign_coords(lag=share.lag.values - 2)
    assert replace(only(exam), measures=shifted).learns == "learns from the nearest 6 of 12 steps, before it and after"


def test_a_reach_that_was_not_found_is_a_lower_bound(linear):
    exam = linear(0.5)
    exam["l0"]["truncation_error"][-2:] = 0.5
    exam["l0"].attrs["steps"] = 20
    assert only(exam).learns == "learns from at least the last 12 of 20 steps"


def test_the_self_check_is_the_largest_known_error(linear):
    assert only(linear()).relative_error == 3e-16
    assert "within 3e-16" in only(linear()).checked


def test_labels_tell_recurrences_apart(linear):
    assert only(linear(name="encoder.l0")).label == "encoder.l0"
    assert only(linear(), "GRU").label == "GRU"


def test_recurrences_of_one_name_stand_side_by_side(stacked):
    found = readings({"before": stacked(0.5, 0.9), "after": stacked(1.0, 1.0)})
    assert [reading.label for reading in found] == ["before · l0", "after · l0", "before · l1", "after · l1"]


def test_without_a_loss_nothing_is_said_of_what_is_learned(lossless):
    reading = only(lossless())
    assert not reading.has_loss and not reading.has_gradient and not reading.reaches and not reading.relative_errors
    assert reading.learns == "was examined without a loss"
    assert reading.changes == "halves every step"
    assert reading.decays.startswith("A gradient that passes back through it halves every step (")


def test_time_constants_are_those_that_are_times(lossless):
    reading = only(lossless())
    assert reading.time_constants.tolist() == pytest.approx([-1 / math.log(0.5), 10, 100])
    assert reading.holds == "median 10 steps; 3.2 to 82 for the middle 80 % of the units"


def test_step_jacobians_in_words(lossless, linear):
    assert only(lossless()).steps_stretch == ("largest singular value 0.50 to 0.50 over steps and samples, median 0.50")
    assert only(linear()).steps_stretch == only(linear()).holds == ""


@pytest.mark.parametrize(
    ("rate", "words"),
    [(0.0, "keeps its size"), (math.inf, "overflows at once"), (-math.inf, "ends at once"), (math.nan, "has no decay")],
)
def test_what_a_rate_does(lossless, rate, words):
    exam = lossless()
    exam["l0"]["decay_rate"][:] = rate
    assert only(exam).changes.startswith(words)


@pytest.mark.parametrize(
    ("value", "words"),
    [(-0.5, "−0.50"), (38.0, "38"), (0.0, "0.0"), (3.1415, "3.1"), (-113.0, "−110"), (2e9, "2.0e+09")],
)
def test_numbers_have_two_digits_and_a_minus(value, words):
    assert number(value) == words


def test_where_the_dtype_overflows_is_said(linear):
    exam = linear()
    assert only(exam).overflows == ""
    exam["l0"].attrs["first_not_finite"] = "adjoint of h at step 3, of the loss at step 9"
    assert only(exam).overflows == "float64 has no number for the adjoint of h at step 3, of the loss at step 9"


def test_one_step_is_the_only_one(linear):
    exam = linear(0.5)
    exam["l0"].attrs["steps"] = 1
    assert only(exam).learns == "learns from the only step"


def test_what_was_not_followed_is_no_error_of_the_self_check(linear):
    exam = linear(0.5)
    assert "add up to .grad" in only(exam).checked
    short = replace(only(exam), measures=exam["l0"].sel(lag=slice(0, 4)).assign_attrs(max_lag=4))
    assert short.checked == "self-check: the lags that were followed leave 3e-16 of .grad to those beyond, relative"
