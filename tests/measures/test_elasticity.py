"""How much of a loss hangs on the state that it reads: a linear readout in closed form, and by autograd."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt


@pytest.mark.parametrize("unit", [1.0, 1e-6])
def test_of_a_linear_readout(unit):
    """l = u (a |h| + b) with h of one unit in one sample: a |h| / (a |h| + b), whatever u."""
    torch.manual_seed(0)
    layer = nn.RNN(1, 1, nonlinearity="relu").double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(0.5)
    inputs = torch.ones(4, 1, 1, dtype=torch.float64)
    hidden = layer(inputs)[0].flatten().detach().numpy()
    exam = tt.examine(layer, inputs, loss=lambda output, _: unit * (1e-3 * output[0].sum((1, 2)) + 2))
    found = exam["l0"].elasticity.sel(state="h")
    np.testing.assert_allclose(found, np.log(1e-3 * hidden / (1e-3 * hidden + 2)), rtol=1e-12)


def test_of_an_lstm_by_autograd():
    torch.manual_seed(0)
    layer, readout = nn.LSTM(2, 3).double(), nn.Linear(3, 1).double()
    inputs = torch.randn(5, 4, 2, dtype=torch.float64)
    output = layer(inputs)[0].detach().requires_grad_()
    losses = readout(output).square().sum((1, 2))
    arriving = torch.autograd.grad(losses.sum(), output)[0]
    sizes = [one.square().sum(-1).mean(-1).sqrt() for one in (arriving, output.detach())]
    expected = (4 * sizes[0] * sizes[1] / losses.detach()).log()
    exam = tt.examine(layer, inputs, loss=lambda output, _: readout(output[0]).square().sum((1, 2)))
    np.testing.assert_allclose(exam["l0"].elasticity.sel(state="h"), expected, rtol=1e-9)
    np.testing.assert_allclose(exam["l0"].state_norm.sel(state="h"), sizes[1].log(), rtol=1e-9)


def test_a_readout_that_hardly_reads_is_told_from_a_small_loss():
    torch.manual_seed(0)
    layer, inputs, targets = nn.LSTM(2, 8), torch.randn(20, 3, 2), torch.randn(20, 3, 1)
    with torch.no_grad():
        layer.bias_ih_l0[8:16] = 4.0

    def verdicts(read, unit):
        exam = tt.examine(
            layer, inputs, loss=lambda output, _: unit * (read * output[0] - targets).square().sum((1, 2))
        )
        return {found.verdict: found for found in exam.findings}

    found = verdicts(1e-9, 1.0)
    assert list(found) == ["readout-bound"] and found["readout-bound"].severity == 2
    assert "none would change by more than" in found["readout-bound"].evidence
    assert found["readout-bound"].numbers[0].value < found["readout-bound"].numbers[0].threshold < math.log(2e-7)
    assert list(verdicts(1.0, 1e-9)) == ["healthy"]


def test_a_state_that_holds_next_to_nothing_is_no_weak_readout():
    torch.manual_seed(0)
    layer, readout, inputs = nn.RNN(2, 8, bias=False), nn.Linear(8, 1), 1e-9 * torch.randn(20, 3, 2)
    exam = tt.examine(layer, inputs, loss=lambda output, _: (readout(output[0]) - 1).square().sum((1, 2)))
    verdicts = {found.verdict: found for found in exam.findings}
    assert "readout-bound" not in verdicts and verdicts["tiny state"].severity == 2
    assert "Scale the inputs" in verdicts["tiny state"].remedies[0]
    assert verdicts["tiny state"].numbers[0].value == pytest.approx(float(exam["l0"].state_norm.max()))
