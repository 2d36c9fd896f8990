"""Forward memory: closed forms, and naive derivatives of every hidden state by every input."""

import math

import pytest
import torch
from test_singular_values import Linear
from torch import nn

from naive import layers
from throughtime import cells
from throughtime.measures import forward_memory
from throughtime.unroll import Weights, unroll


def unrolled(cell, module, inputs):
    weights = Weights(**{name.removesuffix("_l0"): value.detach() for name, value in module.named_parameters()})
    initial = {state: inputs.new_zeros(inputs.shape[1], module.hidden_size) for state in cell.states}
    return weights, unroll(cell, weights, inputs, initial)


def test_a_scalar_linear_network():
    """Fact 1: h_t = w h_{t-1} + x_t, so dh_t/dx_{t-k} = w^k, far below the range of a float."""
    weights = Weights(*torch.tensor([[[1.0]], [[0.01]]], dtype=torch.float64))
    trajectory = unroll(Linear(), weights, torch.zeros(200, 1, 1).double(), {"h": torch.zeros(1, 1).double()})
    found = forward_memory(Linear(), weights, trajectory)
    torch.testing.assert_close(found, torch.arange(200).double() * math.log(0.01), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kind", "cell"), [(nn.RNN, cells.RNN()), (nn.GRU, cells.GRU()), (nn.LSTM, cells.LSTM())])
def test_against_naive_autograd(kind, cell):
    """All samples of a sequence of four steps, its first input, every feature."""
    torch.manual_seed(0)
    module = kind(3, 5).double()
    inputs = torch.randn(4, 2, 3, dtype=torch.float64)
    sequence = [x.clone().requires_grad_() for x in inputs]
    hidden = layers(module, sequence).runs["l0"].hidden[1:]
    squares = []
    for h in hidden:
        rows = [torch.autograd.grad(h[:, unit].sum(), sequence[0], retain_graph=True)[0] for unit in range(5)]
        squares.append(torch.stack(rows).square().sum((0, 2)))
    expected = torch.stack(squares).mean(1).log() / 2
    torch.testing.assert_close(forward_memory(cell, *unrolled(cell, module, inputs)), expected, rtol=1e-10, atol=1e-12)


def test_many_features_are_changed_in_random_directions():
    """E |A v|^2 = |A|^2 / features: with eight of 200 directions, within a few per cent of the norm of W_ih."""
    torch.manual_seed(0)
    weight_ih = torch.randn(300, 200, dtype=torch.float64)
    weights = Weights(weight_ih, torch.zeros(300, 300, dtype=torch.float64))
    trajectory = unroll(Linear(), weights, torch.zeros(2, 1, 200).double(), {"h": torch.zeros(1, 300).double()})
    found = forward_memory(Linear(), weights, trajectory)
    assert found[0].item() == pytest.approx(weight_ih.norm().log().item(), abs=0.05)
    assert found[1] == -math.inf
