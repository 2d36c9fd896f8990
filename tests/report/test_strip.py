import math

import pytest

from throughtime.examination import Examination
from throughtime.report.readings import readings
from throughtime.report.strip import LONGEST_STRIP, strips


def test_one_text_read_by_two_networks_is_printed_once(two):
    (strip,) = strips(two, readings(two))
    assert [(entry["label"], entry["state"]) for entry in strip.maps] == [
        ("vanishing", "h"),
        ("keeping", "c"),
        ("keeping", "h"),
    ]
    assert "".join(strip.tokens) == "the cats saw"
    assert not strip.words


def test_rows_hold_nats_and_words_for_zero(two):
    (strip,) = strips(two, readings(two))
    third = strip.maps[0]["nats"][2]
    assert third[:4] == pytest.approx([k * math.log(0.5) for k in (3, 2, 1, 0)], rel=1e-3)
    assert set(third[4:]) == {"-inf"}


def test_words_that_would_not_be_seen_have_signs(linear):
    exams = {"": linear(tokens=("the", "", " ", "\t", "\n", "cats", *"saw us"))}
    (strip,) = strips(exams, readings(exams))
    assert strip.tokens[:6] == ("the", "∅", "␣", "⇥", "⏎", "cats")


def test_without_a_text_there_is_none(linear):
    assert strips({"": linear()}, readings({"": linear()})) == []


def test_a_recurrence_of_another_length_does_not_colour_the_text(linear):
    exam, other = linear(0.9, 8, tokens=tuple("the cats")), linear(0.9, 5, name="decoder")
    both = {"": Examination({**exam._records, **other._records}, (), exam.tokens)}
    (strip,) = strips(both, readings(both))
    assert [entry["i"][-1] for entry in strip.maps] == [8]


def test_of_a_long_text_the_end_is_printed(linear):
    steps = LONGEST_STRIP + 5
    exam = {"": linear(0.9, steps, losses=[2, 300, steps], tokens=("a",) * steps)}
    (strip,) = strips(exam, readings(exam))
    assert (strip.first, strip.cut, len(strip.tokens)) == (6, 5, LONGEST_STRIP)
    assert strip.maps[0]["t"] == [300, steps]
    assert strip.maps[0]["i"][0] == 5


def test_a_text_without_a_loss_on_it_is_left_out(linear):
    steps = LONGEST_STRIP + 5
    exam = {"": linear(0.9, steps, losses=[2], tokens=("a",) * steps)}
    assert strips(exam, readings(exam)) == []
