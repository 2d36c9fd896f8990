"""The gates' distribution and their saturation: closed forms, and gates computed by hand."""

import math

import pytest
import torch
from test_singular_values import Linear
from torch import nn

import throughtime as tt
from throughtime import cells
from throughtime.measures import QUANTILES, gate_values, saturation
from throughtime.unroll import Trajectory, Weights, unroll


def unrolled(cell, module, inputs):
    weights = Weights(**{name.removesuffix("_l0"): value.detach() for name, value in module.named_parameters()})
    initial = {state: inputs.new_zeros(inputs.shape[1], module.hidden_size) for state in cell.states}
    return unroll(cell, weights, inputs, initial)


def test_an_lstm_of_biases_alone():
    """With zero weights every gate stands where its bias puts it."""
    lstm = nn.LSTM(2, 3).double()
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.bias_ih_l0.copy_(torch.tensor([-5.0, 3.0, 2.0, 0.0]).repeat_interleave(3))
    found = gate_values(cells.LSTM(), trajectory := unrolled(cells.LSTM(), lstm, torch.randn(5, 2, 2).double()))
    expected = [1 / (1 + math.exp(5)), 1 / (1 + math.exp(-3)), math.tanh(2), 0.5]
    assert found.gates == ("i", "f", "g", "o")
    assert found.mean.tolist() == pytest.approx(expected, rel=1e-12)
    assert found.quantiles.T.tolist() == [pytest.approx(expected, rel=1e-12)] * len(QUANTILES)
    assert saturation(cells.LSTM(), trajectory).tolist() == [1, 1, 1, 0]


def test_a_gru_against_its_gates_by_hand():
    torch.manual_seed(0)
    gru, inputs = nn.GRU(2, 4).double(), 3 * torch.randn(9, 3, 2, dtype=torch.float64)
    hidden = torch.cat([torch.zeros(1, 3, 4).double(), gru(inputs)[0][:-1]])
    x = inputs @ gru.weight_ih_l0.T + gru.bias_ih_l0
    u = hidden @ gru.weight_hh_l0.T + gru.bias_hh_l0
    (xr, xz, xn), (ur, uz, un) = x.chunk(3, -1), u.chunk(3, -1)
    r, z = torch.sigmoid(xr + ur), torch.sigmoid(xz + uz)
    gates = torch.stack([r, z, torch.tanh(xn + r * un)]).detach().flatten(1)
    found = gate_values(cells.GRU(), trajectory := unrolled(cells.GRU(), gru, inputs))
    torch.testing.assert_close(found.mean, gates.mean(1), rtol=1e-12, atol=0)
    quantiles = torch.quantile(gates, torch.tensor(QUANTILES, dtype=torch.float64), dim=1).T
    torch.testing.assert_close(found.quantiles, quantiles, rtol=1e-12, atol=0)
    outside = torch.stack([*((gate < 0.1) | (gate > 0.9) for gate in gates[:2]), gates[2].abs() > 0.8])
    assert 0 < outside.double().mean() < 1
    torch.testing.assert_close(saturation(cells.GRU(), trajectory), outside.double().mean(1), rtol=0, atol=0)


def test_a_dead_relu_is_saturated():
    rnn = nn.RNN(1, 2, nonlinearity="relu").double()
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.zero_()
        rnn.bias_ih_l0.copy_(torch.tensor([-1.0, 1.0]))
    trajectory = unrolled(cells.RNN("relu"), rnn, torch.zeros(3, 1, 1).double())
    assert saturation(cells.RNN("relu"), trajectory).tolist() == [0.5]
    assert gate_values(cells.RNN("relu"), trajectory).mean.tolist() == [0.5]


def test_padding_does_not_count():
    torch.manual_seed(0)
    gru, inputs = nn.GRU(2, 4).double(), torch.randn(6, 2, 2, dtype=torch.float64)
    whole = unrolled(cells.GRU(), gru, inputs)
    running = torch.tensor([[True, False]] * 6)
    padded = Trajectory(whole.inputs, whole.input_pre, whole.recurrent_pre, whole.states, running)
    alone = unrolled(cells.GRU(), gru, inputs[:, :1])
    found, expected = gate_values(cells.GRU(), padded), gate_values(cells.GRU(), alone)
    torch.testing.assert_close(found.quantiles, expected.quantiles, rtol=1e-12, atol=0)
    assert torch.equal(saturation(cells.GRU(), padded), saturation(cells.GRU(), alone))


def test_a_gate_without_a_function_has_no_values():
    trajectory = unrolled(Linear(), nn.RNN(1, 1, bias=False), torch.zeros(2, 1, 1))
    assert gate_values(Linear(), trajectory).gates == ()
    assert saturation(Linear(), trajectory).shape == (0,)


def test_an_examination_has_what_is_measured_of_the_states():
    torch.manual_seed(0)
    exam = tt.examine(nn.LSTM(3, 4), torch.randn(9, 2, 3), loss=lambda output, _: output[0].sum((1, 2)))["l0"]
    assert exam["gate_quantile"].dims == ("gate", "quantile") and list(exam.gate.values) == ["i", "f", "g", "o"]
    assert exam["gate_mean"].sel(gate="f").item() == pytest.approx(0.5, abs=0.1)
    assert exam["saturation"].dims == ("gate",)
    assert exam["lyapunov"].dims == exam["lyapunov_error"].dims == ("exponent",)
    assert exam["lyapunov"].sel(exponent=1) < 0 and exam["lyapunov"].units == "nats per step"
    assert exam["singular_values"].dims == ("lag_grid", "singular_value")
    assert exam["stable_rank"].sel(lag_grid=8) < exam["stable_rank"].sel(lag_grid=1)
    assert exam["forward_memory"].dims == ("lag",) and len(exam["forward_memory"]) == 10
    assert exam["forward_memory"].isnull().values.tolist() == [False] * 9 + [True]
