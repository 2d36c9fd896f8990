"""Time constants: the published value, naive gates in float64, padding, and what has none."""

import math

import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime import cells
from throughtime.measures import time_constants
from throughtime.unroll import Trajectory, Weights, unroll


def unrolled(cell, module, inputs, **changes):
    named = {name.removesuffix("_l0"): value.detach() for name, value in module.named_parameters()}
    initial = {state: inputs.new_zeros(inputs.shape[1], module.hidden_size) for state in cell.states}
    return unroll(cell, Weights(**named), inputs, initial)


@pytest.mark.parametrize(("bias", "steps"), [(0, 1.443), (1, 3.192), (2, 7.878), (3, 20.58), (5, 148.9)])
def test_an_lstm_without_recurrent_weights_holds_as_long_as_its_forget_bias_says(bias, steps) -> None:
    """Fact 11: -1 / ln sigmoid(b_f)."""
    lstm = nn.LSTM(2, 3).double()
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.bias_ih_l0[3:6] = bias
    found = time_constants(cells.LSTM(), unrolled(cells.LSTM(), lstm, torch.randn(7, 2, 2, dtype=torch.float64)))
    assert found is not None
    assert found.tolist() == pytest.approx([-1 / math.log(1 / (1 + math.exp(-bias)))] * 3, rel=1e-12)
    assert found[0].item() == pytest.approx(steps, rel=5e-4)


def test_a_gru_against_its_update_gate() -> None:
    torch.manual_seed(0)
    gru, inputs = nn.GRU(2, 4).double(), torch.randn(9, 3, 2, dtype=torch.float64)
    hidden = torch.cat([torch.zeros(1, 3, 4, dtype=torch.float64), gru(inputs)[0][:-1]])
    rows = slice(4, 8)  # z, of r, z, n
    gate = torch.sigmoid(
        inputs @ gru.weight_ih_l0[rows].T
        + gru.bias_ih_l0[rows]
        + hidden @ gru.weight_hh_l0[rows].T
        + gru.bias_hh_l0[rows]
    )
    found = time_constants(cells.GRU(), unrolled(cells.GRU(), gru, inputs))
    torch.testing.assert_close(found, -1 / gate.detach().log().mean((0, 1)), rtol=1e-12, atol=0)


def test_padding_does_not_count() -> None:
    torch.manual_seed(0)
    gru, inputs = nn.GRU(2, 4).double(), torch.randn(6, 2, 2, dtype=torch.float64)
    whole = unrolled(cells.GRU(), gru, inputs)
    running = torch.ones(6, 2, dtype=torch.bool)
    running[3:, 1] = False
    padded = Trajectory(whole.inputs, whole.input_pre, whole.recurrent_pre, whole.states, running)
    alone = [unrolled(cells.GRU(), gru, inputs[:n, [k]]) for k, n in ((0, 6), (1, 3))]
    rates = [1 / time_constants(cells.GRU(), each) for each in alone]
    expected = 1 / ((6 * rates[0] + 3 * rates[1]) / 9)
    torch.testing.assert_close(time_constants(cells.GRU(), padded), expected, rtol=1e-12, atol=0)


class Keeper(tt.Cell):
    """A keep of the input: whatever it is."""

    gates = ("k",)

    def step(self, x, u, h):
        return tt.Update(keep=x.k + 0 * u.k, write=1, candidate=0 * u.k)


@pytest.mark.parametrize(("keep", "expected"), [(1.0, math.inf), (0.0, 0.0), (math.e, -1.0), (-1.0, math.nan)])
def test_the_ends_of_the_range(keep, expected) -> None:
    layer = tt.Recurrent(Keeper, 1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(layer.weight_ih_l0)
    inputs = torch.full((4, 1, 1), keep, dtype=torch.float64)
    found = time_constants(Keeper(), unrolled(Keeper(), layer, inputs))
    assert found.tolist() == pytest.approx([expected], nan_ok=True)


def test_every_examination_of_a_gated_cell_has_them() -> None:
    def examined(module):
        return tt.examine(module, torch.randn(5, 2, 3), loss=lambda output, _: output[0].sum((1, 2)))["l0"]

    measures = examined(nn.LSTM(3, 4))
    assert measures["time_constant"].dims == ("unit",) and measures["time_constant"].units == "steps"
    assert (measures["time_constant"] > 0).all()
    assert "time_constant" not in examined(nn.RNN(3, 4))
