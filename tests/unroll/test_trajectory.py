"""The trajectory: what it holds, and closed forms of gradients along it."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from throughtime.cells import ALL_CELLS, LSTM, RNN, Cell, Update
from throughtime.unroll import Trajectory, Weights, retrace, unroll


class Linear(Cell):
    """h_t = W_ih x_t + W_hh h_{t-1}."""

    gates = ("h",)

    def step(self, x: Any, u: Any, h: Any) -> Update:
        return Update(keep=0, write=1, candidate=x.h + u.h)


def run(cell: Cell, weight_hh: Tensor, initial: Tensor, steps: int, bias: Tensor | None = None) -> Trajectory:
    """Unrolled on zero inputs."""
    weight_ih = torch.zeros(len(weight_hh), 1, dtype=weight_hh.dtype)
    inputs = torch.zeros(steps, len(initial), 1, dtype=weight_hh.dtype)
    return unroll(cell, Weights(weight_ih, weight_hh, bias), inputs, dict.fromkeys(cell.states, initial))


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_every_step_follows_from_the_one_before(cell: Cell) -> None:
    torch.manual_seed(0)
    drawn = {name: torch.randn(shape) for name, shape in cell.weight_shapes(3, 4).items()}
    weights = Weights.of(cell.made(drawn))
    initial = {name: torch.randn(2, 4) for name in cell.states}
    trajectory = unroll(cell, weights, torch.randn(6, 2, 3 * cell.window), initial)
    assert trajectory.steps == 6
    assert {name: states.shape for name, states in trajectory.states.items()} == dict.fromkeys(cell.states, (7, 2, 4))
    for name, states in trajectory.states.items():
        assert torch.equal(states[0], initial[name])
    x, u, states = trajectory.input_pre, trajectory.recurrent_pre, trajectory.states
    torch.testing.assert_close(x, trajectory.inputs @ weights.weight_ih.T + weights.bias_ih)
    before = states["h"][:-1], states[cell.carried][:-1]
    torch.testing.assert_close(u, cell.recurrent_pre(*before, weights.weight_hh, weights.bias_hh))
    hidden, carried = cell.reference_step(x, u, before[1], weights.units)
    torch.testing.assert_close(hidden, states["h"][1:])
    torch.testing.assert_close(carried, states[cell.carried][1:])


def test_weights_by_name() -> None:
    assert list(Weights(torch.zeros(2, 1), torch.zeros(2, 2)).named()) == ["weight_ih", "weight_hh"]


def test_a_projection_of_the_output_is_torchs() -> None:
    """Run step by step, and traced along the states that torch's own kernel left."""
    torch.manual_seed(0)
    layer = torch.nn.LSTM(3, 5, proj_size=2, dtype=torch.float64)
    weights = Weights(**{name.removesuffix("_l0"): weight for name, weight in layer.state_dict().items()})
    inputs, h, c = (torch.randn(*shape, 2, n, dtype=torch.float64) for shape, n in (((6,), 3), ((), 2), ((), 5)))
    output, (_, last) = layer(inputs, (h.unsqueeze(0), c.unsqueeze(0)))
    initial = {"h": h, "c": c}
    traced = retrace(LSTM(), weights, inputs, initial, {"h": output})
    for trajectory in (unroll(LSTM(), weights, inputs, initial), traced):
        assert trajectory.output is not None
        torch.testing.assert_close(trajectory.states["h"][1:], output)
        torch.testing.assert_close(trajectory.states["c"][-1:], last)
        torch.testing.assert_close(trajectory.output @ weights.weight_hr.T, output)


def test_scalar_linear_recurrence_decays_as_a_power() -> None:
    """dh_t/dh_0 = w^t."""
    initial = torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    states = run(Linear(), torch.tensor([[0.9]], dtype=torch.float64), initial, 40).states["h"]
    gradients = [torch.autograd.grad(states[t].sum(), initial, retain_graph=True)[0].item() for t in range(41)]
    assert gradients == pytest.approx([0.9**t for t in range(41)], rel=1e-13)


def test_orthogonal_linear_recurrence_keeps_every_singular_value() -> None:
    """Saxe, McClelland, Ganguli 2014: over 1000 steps at 100 units all singular values of dh_T/dh_0 are 1."""
    torch.manual_seed(0)
    orthogonal = torch.linalg.qr(torch.randn(100, 100, dtype=torch.float64)).Q
    # Row k of the batch starts at unit vector k, so that the last states are the product of step Jacobians.
    last = run(Linear(), orthogonal, torch.eye(100, dtype=torch.float64), 1000).states["h"][-1]
    torch.testing.assert_close(torch.linalg.svdvals(last), torch.ones(100, dtype=torch.float64), rtol=0, atol=1e-12)


def test_orthogonal_tanh_recurrence_shrinks_at_every_step() -> None:
    torch.manual_seed(0)
    orthogonal = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64)).Q
    states = run(RNN(), orthogonal, torch.randn(1, 8, dtype=torch.float64), 30).states["h"]
    assert (states.norm(dim=-1).diff(dim=0) < 0).all()


@pytest.mark.parametrize(("bias_f", "memory"), [(0, 1.443), (1, 3.192), (2, 7.878), (3, 20.58), (5, 148.9)])
def test_lstm_without_recurrent_weights_forgets_at_the_rate_of_its_forget_gate(bias_f: float, memory: float) -> None:
    """dc_t/dc_0 = sigmoid(b_f)^t: a memory of -1/ln sigmoid(b_f) steps."""
    bias = torch.tensor([0.3, bias_f, -0.2, 0.1], dtype=torch.float64)
    initial = torch.full((1, 1), 0.5, dtype=torch.float64, requires_grad=True)
    states = run(LSTM(), torch.zeros(4, 1, dtype=torch.float64), initial, 25, bias).states["c"]
    (gradient,) = torch.autograd.grad(states[-1].sum(), initial)
    assert gradient.item() == pytest.approx(torch.sigmoid(bias[1]).item() ** 25, rel=1e-13)
    assert -25 / math.log(gradient.item()) == pytest.approx(memory, rel=5e-4)
