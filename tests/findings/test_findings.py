import math

import pytest
import torch
from torch import nn

import throughtime as tt


def finding(weight, steps=120, relu=False):
    torch.manual_seed(0)
    layer = nn.RNN(4, 16, nonlinearity="relu" if relu else "tanh")
    with torch.no_grad():
        layer.weight_hh_l0.copy_(weight * (torch.eye(16) if relu else torch.linalg.qr(torch.randn(16, 16))[0]))
        layer.weight_ih_l0.mul_(0.1)
        layer.bias_ih_l0.fill_(1.0 if relu else 0.0)
    inputs = torch.randn(steps, 4, 4)
    found = tt.examine(layer, inputs, loss=lambda output, _: output[0].sum((1, 2))).findings
    assert len(found) == 1
    return found[0]


def test_small_weights_vanish():
    found = finding(0.3)
    assert (found.verdict, found.severity, found.recurrence) == ("vanishing", 3, "l0")
    assert "beyond float32's epsilon (15.9)" in found.evidence and "the weights −1.2" in found.evidence
    assert "gated" in found.remedies[0] and "2001" in found.reference


def test_an_orthogonal_matrix_is_healthy():
    found = finding(1.0, steps=40)
    assert (found.verdict, found.severity, found.remedies) == ("healthy", 0, ())


def test_large_weights_explode():
    found = finding(1.5, steps=60, relu=True)
    assert found.verdict == "exploding" and "more than a hundredfold" in found.evidence
    assert "clip" in found.remedies[0].lower()


@pytest.mark.parametrize(("bias", "verdict"), [(-5.0, "vanishing"), (5.0, "healthy")])
def test_the_forget_gate_decides_for_an_lstm(bias, verdict):
    torch.manual_seed(0)
    layer = nn.LSTM(4, 8)
    with torch.no_grad():
        layer.bias_ih_l0[8:16] = bias
    exam = tt.examine(layer, torch.randn(100, 4, 4), loss=lambda output, _: output[0].sum((1, 2)))
    assert exam.findings[0].verdict == verdict


def dead(part):
    torch.manual_seed(0)
    layer = nn.RNN(4, 12, nonlinearity="relu")
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.eye(12))
        layer.bias_ih_l0.fill_(2.0)
        layer.bias_ih_l0[: round(12 * part)] = -9.0
    return tt.examine(layer, torch.randn(30, 4, 4), loss=lambda output, _: output[0].sum((1, 2))).findings


def test_dead_units_are_counted():
    (found,) = dead(0.75)
    assert (found.verdict, found.severity) == ("dead ReLU", 2)
    assert found.evidence.startswith("9 of 12 units are 0 at every step of every sample")
    assert found.numbers[0].value == 0.75 and found.numbers[0].threshold == 0.5
    assert [one.verdict for one in dead(1 / 3)] == ["healthy"]
    # Where none is alive, that is why nothing passes, and what is to be mended.
    assert [one.verdict for one in dead(1.0)] == ["dead ReLU", "vanishing"]


def lstm(input_gate=0.0, forget=0.0, candidate=0.0, output=0.0, steps=40):
    torch.manual_seed(0)
    layer = nn.LSTM(4, 8)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.mul_(0.1)
        layer.bias_ih_l0.copy_(torch.tensor([input_gate, forget, candidate, output]).repeat_interleave(8))
    exam = tt.examine(layer, torch.randn(steps, 4, 4), loss=lambda output, _: output[0].sum((1, 2)))
    return {one.verdict: one for one in exam.findings}


def test_a_keep_gate_that_never_opens_says_what_it_costs():
    found = lstm(forget=-5.0)
    assert list(found) == ["vanishing", "closed gate"]
    closed = found["closed gate"]
    assert closed.severity == 3 and closed.evidence.startswith("The keep gate never opens: 100% of the units")
    assert closed.numbers[0].value == 1 and closed.causes["carry"] < -100
    # sigmoid(-5) = 0.0067 and -ln of it 5.0; the weights move it a little.
    assert closed.numbers[1].value == pytest.approx(0.0067, rel=0.3)


@pytest.mark.parametrize(("gates", "says"), [({"input_gate": -9.0}, "write gate"), ({"output": -9.0}, "Nothing of c")])
def test_what_is_not_written_or_read_is_a_closed_gate_too(gates, says):
    found = lstm(forget=5.0, **gates)
    assert list(found) == ["closed gate"] and says in found["closed gate"].evidence


def test_a_keep_gate_that_never_closes():
    assert list(lstm(forget=5.0, input_gate=-3.0)) == ["healthy"]
    found = lstm(forget=12.0, input_gate=-3.0)
    assert list(found) == ["gates stuck open"] and found["gates stuck open"].severity == 1


def test_what_is_saturated_says_by_how_much():
    found = lstm(forget=5.0, input_gate=-3.0, candidate=7.0)
    assert list(found) == ["saturated"]
    # 1 / cosh(7)^2 = 3.3e-6, up to the little that comes in.
    assert found["saturated"].numbers[0].value == pytest.approx(3.3e-6, rel=0.5)


def test_saturation_in_a_tanh_network_is_counted_in_nats():
    torch.manual_seed(0)
    layer = nn.RNN(4, 8)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.linalg.qr(torch.randn(8, 8))[0])
        layer.bias_ih_l0.fill_(6.0)
    exam = tt.examine(layer, torch.randn(30, 4, 4), loss=lambda output, _: output[0].sum((1, 2)))
    found = {one.verdict: one for one in exam.findings}
    assert list(found) == ["vanishing", "saturated"] and found["saturated"].severity == 3
    assert found["saturated"].numbers[0].value == found["saturated"].causes["activation slope"] < -100
    assert found["saturated"].numbers[1].value > 0.9


def test_a_sample_that_explodes_alone_is_named():
    """One silent sample among many that their inputs hold back, so that the batch as a whole does not explode."""
    torch.manual_seed(0)
    layer, inputs = nn.RNN(4, 16), 1.5 * torch.randn(40, 65, 4)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(1.2 * torch.linalg.qr(torch.randn(16, 16))[0])
        for bias in (layer.bias_ih_l0, layer.bias_hh_l0):
            bias.zero_()
    inputs[:, 7] = 0
    (found,) = tt.examine(layer, inputs, loss=lambda output, _: output[0][-1].sum()).findings
    assert found.verdict == "exploding" and "grows in sample 7 of 65 (counted from 0)" in found.evidence
    # Nothing holds it back: 39 ln 1.2 = 7.11 nats. In the batch it counts for a 65th.
    assert found.numbers[1].quantity == "change of sample_profile in sample 7"
    assert found.numbers[1].value == pytest.approx(39 * math.log(1.2), rel=1e-3)
    assert "sample" in found.remedies[0]
    inputs[:, 7] = 1
    assert "exploding" not in {
        one.verdict for one in tt.examine(layer, inputs, loss=lambda o, _: o[0][-1].sum()).findings
    }


@pytest.mark.parametrize("bidirectional", [False, True])
def test_lags_that_no_loss_has_are_no_finding(bidirectional):
    """Where the later losses are masked, no lag is longer than what the last loss has read."""
    torch.manual_seed(0)
    layer = nn.LSTM(4, 8, bidirectional=bidirectional)
    with torch.no_grad():
        for name, bias in layer.named_parameters():
            if name.startswith("bias_ih"):
                bias[8:16] = 5.0
    mask = torch.zeros(40, 1, 1)
    mask[10:25] = 1
    exam = tt.examine(layer, torch.randn(40, 4, 4), loss=lambda output, _: (output[0] * mask).sum((1, 2)))
    assert [found.verdict for found in exam.findings] == ["healthy"] * len(exam.recurrences)
    # Forward, the 25th step is the last that is read; in reverse the 11th, which has read 30.
    assert "From lag 0 to lag 24" in exam.findings[0].evidence
    assert ("From lag 0 to lag 29" in exam.findings[-1].evidence) == bidirectional


def test_a_window_that_is_too_short_says_which_would_do():
    torch.manual_seed(0)
    layer, inputs = nn.RNN(4, 16), torch.randn(40, 4, 4)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(0.9 * torch.linalg.qr(torch.randn(16, 16))[0])
        layer.weight_ih_l0.mul_(0.1)

    def found(window):
        exam = tt.examine(layer, inputs, loss=lambda output, _: output[0][-1].sum(), window=window)
        return exam, {one.verdict: one for one in exam.findings}

    exam, cut = found(5)
    error = cut["truncated"].numbers[0]
    # The only loss stands at the end of a window.
    assert error.value == pytest.approx(float(exam["l0"].truncation_error.sel(window=5))) and error.value > 0.01
    assert cut["truncated"].evidence.endswith(f"every loss would have to reach {exam.reach()['l0']} steps back.")
    assert all("truncated" not in found(window)[1] for window in (40, 50, None))
    with pytest.raises(tt.ExaminationError, match="window: expected a whole number of at least 1, found 0"):
        found(0)


def test_causes_are_per_step_as_far_as_there_is_a_gradient():
    """ReLU units with one recurrent weight each: h_t = w h_{t-1} of those that are active, until they all die."""
    layer = tt.IndRNN(4, 8)
    torch.nn.init.constant_(layer.weight_hh_l0, 0.5)
    inputs = torch.ones(60, 2, 4)
    inputs[40] = -100  # no unit is active there, so that nothing passes
    with torch.no_grad():
        layer.weight_ih_l0.fill_(0.1)
    (found,) = (
        one
        for one in tt.examine(layer, inputs, loss=lambda output, _: output[0][-1].square().sum()).findings
        if one.verdict == "vanishing"
    )
    assert found.evidence.startswith("The derivative with respect to h is exactly zero from lag 20 on.")
    # Every weight multiplies by 0.5, and no unit that is active has another slope than 1.
    assert found.causes["weights"] / found.cause_steps == pytest.approx(math.log(0.5), rel=1e-4)


def test_of_an_input_no_gate_is_opened():
    """A convolution sees three steps: nothing further back, and no recurrence to be cured."""
    model = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1), nn.Tanh())
    exam = tt.examine(model, torch.randn(4, 2, 30), loss=lambda output, _: output.square().sum((0, 1)), time_axis=2)
    (found,) = exam.findings
    assert found.verdict == "vanishing" and found.remedies == ()
