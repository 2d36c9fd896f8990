"""Three estimates of one rate: where they agree, and each reason for which they do not, planted."""

import math

import pytest
import torch
from torch import nn

import throughtime as tt

STEPS, UNITS = 60, 16
REASONS = ("sends back joins it", "not stationary", "driven by its input", "not normal", "several time scales")


def last(output, _):
    return output[0][-1].sum()


def examined(layer, inputs, loss=last):
    return {found.recurrence: found for found in tt.examine(layer, inputs, loss=loss).findings}


def reasons(evidence):
    told = evidence.partition("They differ: ")[2]
    return {reason for reason in REASONS if reason in told}


def tanh(weight, bias=0.0):
    torch.manual_seed(0)
    layer = nn.RNN(4, len(weight))
    with torch.no_grad():
        layer.weight_hh_l0.copy_(weight)
        layer.bias_ih_l0.fill_(bias)
        layer.bias_hh_l0.zero_()
    return layer


def orthogonal(gain):
    torch.manual_seed(1)
    return gain * torch.linalg.qr(torch.randn(UNITS, UNITS))[0]


def test_where_every_step_is_alike_all_three_agree():
    found = examined(tanh(orthogonal(0.8)), 0.001 * torch.randn(STEPS, 3, 4))["l0"]
    assert "In nats per step, −0.223 by the lag profile, −0.223 by the Lyapunov exponent, −0.223" in found.evidence
    assert "differ" not in found.evidence
    rates = {number.quantity: number for number in found.numbers[1:]}
    assert list(rates) == ["decay_rate", "lyapunov", "mean_jacobian"]
    assert all(number.value == pytest.approx(math.log(0.8), abs=1e-4) for number in rates.values())
    assert rates["lyapunov"].low <= rates["lyapunov"].value <= rates["lyapunov"].high


def test_not_normal():
    """Every pair of units grows first, by 100 k 0.9^(k-1) in k steps, before it falls by ln 0.9 a step."""
    weight = torch.block_diag(*[torch.tensor([[0.9, 100.0], [0.0, 0.9]])] * (UNITS // 2))
    found = examined(tanh(weight), 1e-5 * torch.randn(STEPS, 3, 4))["l0"]
    assert reasons(found.evidence) == {"not normal"}
    rates = {number.quantity: number.value for number in found.numbers}
    assert rates["mean_jacobian"] == pytest.approx(math.log(0.9), abs=1e-3) and rates["decay_rate"] > -0.06


def test_not_stationary():
    """Silence first, and then a constant that saturates all units."""
    inputs = torch.zeros(STEPS, 3, 4)
    inputs[STEPS // 2 :] = 3.0
    found = examined(tanh(orthogonal(1.0)), inputs)["l0"]
    assert reasons(found.evidence) == {"not stationary"}


class Driven(tt.Cell):
    """h_t = x_t h_{t-1}: every step Jacobian is the input."""

    gates = ("keep",)
    enters = "none"

    def step(self, x, u, h):
        return tt.Update(keep=x.keep, write=0, candidate=0)


def test_driven_by_its_input():
    """Log-normal factors: ln of their mean is above the mean of their ln by half their variance, 0.32."""
    torch.manual_seed(0)
    layer = tt.Recurrent(Driven, 1, 1, bias=False)
    nn.init.ones_(layer.weight_ih_l0)
    inputs = (0.8 * torch.randn(STEPS, 3, 1)).exp()
    found = tt.examine(layer, (inputs, torch.ones(1, 3, 1)), loss=last).findings[0]
    assert reasons(found.evidence) == {"driven by its input"}
    rates = {number.quantity: number.value for number in found.numbers}
    assert 0.1 < rates["mean_jacobian"] - rates["lyapunov"] < 0.6


def test_what_a_layer_above_brings():
    torch.manual_seed(0)
    layer = nn.GRU(4, UNITS, num_layers=2)
    with torch.no_grad():
        layer.bias_ih_l1[UNITS : 2 * UNITS] = 4.0
    found = examined(layer, torch.randn(STEPS, 3, 4), loss=lambda output, _: output[0].sum((1, 2)))
    assert reasons(found["l0"].evidence) == {"sends back joins it"}
    assert reasons(found["l1"].evidence) == set()


def test_several_time_scales():
    """One slow unit that is hardly read, beside fast ones that are."""
    layer = tt.IndRNN(4, UNITS)
    with torch.no_grad():
        layer.weight_hh_l0.fill_(0.3)
        layer.weight_hh_l0[0] = 0.97
        layer.bias_ih_l0.fill_(3.0)
    read = torch.ones(UNITS)
    read[0] = 1e-5
    found = examined(layer, 0.1 * torch.randn(STEPS, 3, 4), loss=lambda output, _: (output[0][-1] @ read).sum())["l0"]
    assert reasons(found.evidence) == {"several time scales"}
