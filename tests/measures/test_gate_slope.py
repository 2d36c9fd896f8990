"""What the functions of the gates leave of a gradient: by their biases alone, and against autograd."""

import math

import pytest
import torch
from test_gates import unrolled
from torch import nn

from throughtime import cells
from throughtime.measures import gate_slope


def test_an_lstm_of_biases_alone():
    lstm = nn.LSTM(2, 3).double()
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.bias_ih_l0.copy_(torch.tensor([-5.0, 3.0, 2.0, 0.0]).repeat_interleave(3))
    found = gate_slope(cells.LSTM(), unrolled(cells.LSTM(), lstm, torch.randn(5, 2, 2).double()))
    expected = [1 / math.cosh(2.5) ** 2, 1 / math.cosh(1.5) ** 2, 1 / math.cosh(2) ** 2, 1]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_a_gru_against_autograd():
    torch.manual_seed(0)
    gru, inputs = nn.GRU(2, 4).double(), 3 * torch.randn(9, 3, 2, dtype=torch.float64)
    hidden = torch.cat([torch.zeros(1, 3, 4).double(), gru(inputs)[0][:-1]])
    x = (inputs @ gru.weight_ih_l0.T + gru.bias_ih_l0).chunk(3, -1)
    u = (hidden @ gru.weight_hh_l0.T + gru.bias_hh_l0).chunk(3, -1)
    pre = [x[0] + u[0], x[1] + u[1], x[2] + torch.sigmoid(x[0] + u[0]) * u[2]]
    expected = []
    for one, function, steepest in zip(pre, (torch.sigmoid, torch.sigmoid, torch.tanh), (0.25, 0.25, 1), strict=True):
        one = one.detach().requires_grad_()
        slope = torch.autograd.grad(function(one).sum(), one)[0]
        expected.append(float((slope / steepest).square().mean().sqrt()))
    found = gate_slope(cells.GRU(), unrolled(cells.GRU(), gru, inputs))
    assert found.tolist() == pytest.approx(expected, rel=1e-9)
