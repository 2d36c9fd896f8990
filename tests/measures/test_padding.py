"""Which steps are padding, and what part of the gradient goes there: counted, and against naive autograd."""

import pytest
import torch
from torch import nn

import naive
import throughtime as tt
from throughtime.measures import padding
from throughtime.unroll import Trajectory

LENGTHS = (2, 5, 3)
STEPS = 6


def reads(inputs, running=None):
    nothing = inputs[..., :0]
    return Trajectory(inputs, nothing, nothing, {}, running)


def filled(value=0.0):
    torch.manual_seed(0)
    inputs = torch.randn(STEPS, 3, 2, dtype=torch.float64)
    for sample, length in enumerate(LENGTHS):
        inputs[length:, sample] = value
    return inputs


EXPECTED = torch.arange(STEPS).unsqueeze(1) >= torch.tensor(LENGTHS)


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_what_repeats_behind_the_data_is_padding(value):
    assert padding(reads(filled(value))).equal(EXPECTED)


def test_what_rests_is_not_read():
    assert not padding(reads(filled(), ~EXPECTED)).any()


@pytest.mark.parametrize(
    "inputs",
    [
        torch.zeros(4, 2, 1),
        torch.ones(1, 2, 1),
        torch.randn(5, 2, 1),
        torch.cat([torch.randn(2, 2, 1), torch.zeros(3, 2, 1)]),
        torch.tensor([[1.0, 2.0], [3.0, 1.0], [4.0, 2.0], [4.0, 3.0]]).unsqueeze(-1)[:, :1],
    ],
    ids=["nothing but silence", "one step", "data", "a silence of the same length", "one sample"],
)
def test_what_is_data(inputs):
    assert not padding(reads(inputs)).any()


def test_a_silent_sample_is_data():
    inputs = filled()
    inputs[:, 2] = 0
    expected = EXPECTED.clone()
    expected[:, 2] = False
    assert padding(reads(inputs)).equal(expected)


def test_steps_that_happen_to_repeat_are_told_apart_from_the_filling():
    inputs = filled()
    inputs[:, 1] = torch.arange(12.0).view(6, 2)
    inputs[4:, 1] = 7.0
    expected = EXPECTED.clone()
    expected[:, 1] = False
    assert padding(reads(inputs)).equal(expected)


class Keep(tt.Cell):
    """h_t = h_{t-1} + x_t: every derivative is 1."""

    gates = ("h",)

    def step(self, x, u, h):
        return tt.Update(keep=1, write=1, candidate=x.h)


def test_where_every_derivative_is_one_the_share_is_that_of_the_steps():
    layer = tt.Recurrent(Keep, 2, 1, bias=False, dtype=torch.float64)
    exam = tt.examine(layer, filled(), loss=lambda output, _: output[0][-1].sum())
    part = EXPECTED.double().mean().item()
    assert exam["l0"].attrs["padded"] == pytest.approx(part, rel=1e-12)
    assert float(exam["l0"]["padding_share"]) == pytest.approx(part, rel=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_against_autograd(layers):
    torch.manual_seed(1)
    layer, inputs = nn.GRU(2, 4, layers).double(), filled()
    found = naive.layers(layer, list(inputs.unbind(0)))
    losses = [output.square().sum() for output in found.outputs]
    exam = tt.examine(layer, inputs, loss=lambda output, _: output[0].square().sum((1, 2)))
    for index in range(layers):
        states = found.runs[f"l{index}"].hidden[1:]
        squares = torch.stack(naive.gradients(losses, states), 1).square().sum((0, -1))
        expected = float(squares[EXPECTED].sum() / squares.sum())
        assert 0.1 < expected < 0.9
        assert float(exam[f"l{index}"]["padding_share"]) == pytest.approx(expected, rel=1e-9)
