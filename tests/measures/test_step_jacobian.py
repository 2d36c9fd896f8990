"""Step Jacobians: against torch.func on the same equations, and in closed form."""

import math

import pytest
import torch
from torch import nn

from naive import step as naive_step
from throughtime import cells
from throughtime.adjoint import Pushforward
from throughtime.measures import step_jacobians
from throughtime.unroll import Weights, unroll

PROJECTED = {"weight_hh": torch.randn(12, 2).double(), "weight_hr": torch.randn(2, 3).double()}
KINDS = {"tanh": cells.RNN(), "gru": cells.GRU(), "lstm": cells.LSTM(), "gated": cells.Gated()}


def run(cell, hidden=3, steps=6, batch=2, **given):
    torch.manual_seed(0)
    rows = len(cell.gates) * hidden
    shapes = {"weight_ih": (rows, 2), "weight_hh": (rows, hidden), "bias_ih": (rows,), "bias_hh": (rows,)}
    weights = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()} | given
    inputs = torch.randn(steps, batch, 2, dtype=torch.float64)
    widths = dict.fromkeys(cell.states, hidden) | {"h": weights["weight_hh"].shape[1]}
    initial = {state: torch.zeros(batch, width, dtype=torch.float64) for state, width in widths.items()}
    return weights, unroll(cell, Weights(**weights), inputs, initial)


@pytest.mark.parametrize(("kind", "given"), [*((kind, {}) for kind in KINDS), ("lstm", PROJECTED)])
def test_every_step_against_naive_autograd(kind, given) -> None:
    cell = KINDS[kind]
    weights, trajectory = run(cell, **given)
    jacobians = list(Pushforward(cell, Weights(**weights), trajectory).jacobians())
    found = step_jacobians(cell, Weights(**weights), trajectory)
    assert found.steps.tolist() == [1, 2, 3, 4, 5, 6]
    for index, step in enumerate(found.steps.tolist()):
        for sample in range(2):
            before = torch.cat([trajectory.states[state][step - 1, sample] for state in cell.states])

            def stepped(state, x=trajectory.inputs[step - 1, sample]):
                h, c = state.split([len(state) - 3, 3]) if len(cell.states) == 2 else (state, state)
                new = naive_step(kind, weights, x, h, c)
                return torch.cat(new[: len(cell.states)])

            expected = torch.func.jacrev(stepped)(before)
            torch.testing.assert_close(jacobians[index][sample], expected, rtol=1e-12, atol=1e-14)
            values = torch.linalg.svdvals(expected)
            assert found.largest[index, sample].item() == pytest.approx(values[0].log().item(), rel=1e-10)
            assert found.mean[index, sample].item() == pytest.approx(values.square().mean().log().item() / 2, rel=1e-10)


def test_an_lstm_without_recurrent_weights_passes_its_forget_gate() -> None:
    """dc_t/dc_{t-1} = sigmoid(b_f), and h_t sees it through o (1 - tanh(c)^2) = 1/2 here; h_{t-1} is not read."""
    weights, trajectory = run(
        cells.LSTM(),
        **{name: torch.zeros(shape).double() for name, shape in (("weight_ih", (12, 2)), ("weight_hh", (12, 3)))},
        bias_hh=torch.zeros(12).double(),
        bias_ih=torch.tensor([0.0, 1, 0, 0]).repeat_interleave(3).double(),
    )
    forget = 1 / (1 + math.exp(-1))
    found = step_jacobians(cells.LSTM(), Weights(**weights), trajectory)
    # c stays at 0, where tanh has slope 1 and o is 1/2: three columns (f/2, f) over the units.
    assert found.largest.tolist() == [pytest.approx([math.log(forget * math.sqrt(1.25))] * 2, rel=1e-12)] * 6
    assert found.mean.tolist() == [pytest.approx([math.log(forget * math.sqrt(1.25 / 2))] * 2, rel=1e-12)] * 6


def test_an_identity_relu_network_keeps_every_length() -> None:
    """ReLU, W_hh = I, all units active (Le, Jaitly, Hinton 2015): every singular value is 1."""
    weights, trajectory = run(
        cells.RNN("relu"),
        weight_hh=torch.eye(3).double(),
        weight_ih=torch.zeros(3, 2).double(),
        bias_ih=torch.ones(3).double(),
        bias_hh=torch.zeros(3).double(),
    )
    found = step_jacobians(cells.RNN("relu"), Weights(**weights), trajectory)
    assert found.largest.abs().max() == found.mean.abs().max() == 0


@pytest.mark.parametrize(("hidden", "steps", "batch", "shape"), [(3, 200, 6, (64, 4)), (640, 100, 6, (32, 1))])
def test_the_work_is_bounded(hidden, steps, batch, shape, monkeypatch) -> None:
    monkeypatch.setattr(torch.linalg, "matrix_norm", lambda matrix, *_: matrix[:, 0, 0])
    weights, trajectory = run(cells.RNN(), hidden, steps, batch)
    found = step_jacobians(cells.RNN(), Weights(**weights), trajectory)
    assert found.largest.shape == shape
    assert (found.steps[0], found.steps[-1]) == (1, steps)


def test_a_step_in_the_reading_of_a_torch_layer() -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(2, 3).double()
    weights = {name.removesuffix("_l0"): value.detach() for name, value in lstm.named_parameters()}
    _, trajectory = run(cells.LSTM(), **weights)

    def stepped(state):
        h, c = state.view(2, 1, 1, 3)
        _, (h, c) = lstm(trajectory.inputs[3, :1].unsqueeze(0), (h, c))
        return torch.cat([h.flatten(), c.flatten()])

    before = torch.cat([trajectory.states[state][3, 0] for state in "hc"])
    expected = torch.autograd.functional.jacobian(stepped, before)
    found = list(Pushforward(cells.LSTM(), Weights(**weights), trajectory).jacobians())[3][0]
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-14)
