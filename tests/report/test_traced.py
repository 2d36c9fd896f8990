"""From a number to its figure."""

import math

import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime.findings import Finding, Number
from throughtime.report.readings import readings
from throughtime.report.traced import traced, traced_text


@pytest.fixture
def reading(linear):
    (reading,) = readings({"": linear(0.5)})
    return reading


def finding(evidence, *numbers, causes=(), steps=0):
    return Finding("vanishing", "l0", 2, evidence, numbers=numbers, causes=dict(causes), cause_steps=steps)


def test_a_number_of_the_evidence_leads_to_its_figure(reading):
    fall = Number("change of lag_profile", -7.625, "nats", -8.0, -7.25)
    text = traced_text(finding("From lag 0 to lag 11 it falls by 7.62 nats (95 %: 7.25 to 8).", fall), reading)
    assert text == (
        'From lag 0 to lag 11 it falls by <a href="#lag_profile">7.62</a> nats '
        '(95 %: <a href="#lag_profile">7.25</a> to <a href="#lag_profile">8</a>).'
    )


def test_a_lag_leads_nowhere(reading):
    text = traced_text(finding("From lag 11 on.", Number("change of lag_profile", 11.0)), reading)
    assert text == "From lag 11 on."


def test_a_part_is_found_in_percent(reading):
    text = traced_text(finding("It is 37% away, 0.37 in all.", Number("truncation_error", 0.3704)), reading)
    assert text.count("#truncation_error") == 2


def test_causes_are_stated_per_step(reading):
    causes = {"weights": 11 * math.log(0.5)}
    text = traced_text(finding("Per step: the weights −0.69.", causes=causes, steps=11), reading)
    assert 'the weights <a href="#mean_causes">−0.69</a>.' in text


def test_causes_are_those_of_the_losses_that_send_anything():
    """Where the later losses are masked, there are fewer steps than the sequence has."""
    torch.manual_seed(0)
    mask = (torch.arange(60) < 30).float()
    exam = tt.examine(nn.RNN(3, 8), torch.randn(60, 4, 3), mask, lambda output, mask: output[0].sum((1, 2)) * mask)
    (one,), (reading,) = exam.findings, readings({"": exam})
    text = str(traced_text(one, reading))
    _, told = text.split("Per step, in nats: ")
    assert told.startswith('saturation <a href="#mean_causes">−')
    assert ', the weights <a href="#mean_causes">−' in told


def test_a_number_of_the_dataset_needs_no_mention(everything):
    (reading,) = readings({"": everything})
    text = traced_text(finding("One step stretches some direction by +0.1."), reading)
    assert text == 'One step stretches some direction by <a href="#rates">+0.1</a>.'


def test_other_numbers_lead_nowhere(reading):
    small = Number("change of lag_profile", -0.3, "nats")
    evidence = "From lag 0 float32 h_2 <b> 4 times 1.5."
    assert traced_text(finding(evidence, small), reading) == evidence.replace("<b>", "&lt;b&gt;")


def test_what_no_figure_shows_is_still_told(reading):
    (one,) = traced(finding("", Number("some_count", 3.0, "", threshold=2.0)), reading)
    assert (one.quantity, one.words, one.threshold, one.anchor) == ("some count", "3.00", "2.00", "")


def test_a_number_has_its_unit_and_interval(reading):
    (one,) = traced(finding("", Number("decay_rate", -0.69, "nats per step", -0.7, -0.68)), reading)
    assert one.words == "−0.690 nats per step (95 %: −0.700 to −0.680)"
    assert (one.anchor, one.seen) == ("#lag_profile", "Lag profile")


def test_a_panel_of_its_own_is_led_to(linear):
    second = readings({"a": linear(), "b": linear()})[1]
    (one,) = traced(finding("", Number("gradient_map", 1.0)), second)
    assert one.anchor == "#gradient_map-1"
