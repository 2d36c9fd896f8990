"""The pushforward: against torch.func's derivatives of a hand-written step."""

import pytest
import torch
from torch import nn

from naive import step as naive_step
from test_examine_cells import InputOnly
from throughtime import cells
from throughtime.adjoint import Pushforward
from throughtime.unroll import Weights, unroll

HIDDEN, FEATURES, STEPS, BATCH = 3, 2, 4, 2
KINDS = {
    "tanh": cells.RNN(),
    "relu": cells.RNN("relu"),
    "gru": cells.GRU(),
    "lstm": cells.LSTM(),
    "gated": cells.Gated(),
}
PROJECTED = {"weight_hh": torch.randn(12, 2).double(), "weight_hr": torch.randn(2, 3).double()}


def run(cell, **given):
    torch.manual_seed(1)
    rows = len(cell.gates) * HIDDEN
    shapes = {"weight_ih": (rows, FEATURES), "weight_hh": (rows, HIDDEN), "bias_ih": (rows,), "bias_hh": (rows,)}
    weights = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()} | given
    widths = dict.fromkeys(cell.states, HIDDEN) | {"h": weights["weight_hh"].shape[1]}
    initial = {state: torch.randn(BATCH, width, dtype=torch.float64) for state, width in widths.items()}
    inputs = torch.randn(STEPS, BATCH, FEATURES, dtype=torch.float64)
    return weights, unroll(cell, Weights(**weights), inputs, initial)


@pytest.mark.parametrize(("kind", "given"), [*((kind, {}) for kind in KINDS), ("lstm", PROJECTED)])
def test_every_step_against_autograd(kind, given):
    cell = KINDS[kind]
    weights, trajectory = run(cell, **given)
    pushes = Pushforward(cell, Weights(**weights), trajectory)
    changes = torch.randn(BATCH, pushes.size, 5, dtype=torch.float64)
    of_input = torch.randn(FEATURES, 2, dtype=torch.float64)

    def stepped(x, state):
        h, c = state.split([len(state) - HIDDEN, HIDDEN]) if len(cell.states) == 2 else (state, state)
        return torch.cat(naive_step(kind, weights, x, h, c)[: len(cell.states)])

    for step, push in enumerate(pushes, start=1):
        for sample in range(BATCH):
            x = trajectory.inputs[step - 1, sample]
            before = torch.cat([trajectory.states[state][step - 1, sample] for state in cell.states])
            to_input, to_state = torch.func.jacrev(stepped, (0, 1))(x, before)
            torch.testing.assert_close(push(changes)[sample], to_state @ changes[sample], rtol=1e-12, atol=1e-13)
            found = pushes.input(step, of_input)[sample]
            torch.testing.assert_close(found, to_input @ of_input, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("cell", [*cells.ALL_CELLS, InputOnly()], ids=repr)
def test_every_way_in_which_a_state_enters(cell):
    """Against torch.func's derivatives of the equations themselves."""
    torch.manual_seed(2)
    units = 4  # An even number: some cells are made of pairs.
    shapes = cell.weight_shapes(FEATURES, units)
    drawn = {name: torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}
    weights = Weights.of(cell.made(drawn))
    initial = {state: torch.randn(BATCH, units, dtype=torch.float64) for state in cell.states}
    inputs = torch.randn(STEPS, BATCH, FEATURES * cell.window, dtype=torch.float64)
    trajectory = unroll(cell, weights, inputs, initial)

    def stepped(x, state):
        h, c = state.split(units) if len(cell.states) == 2 else (state, state)
        pre = nn.functional.linear(x, weights.weight_ih, weights.bias_ih)
        u = cell.recurrent_pre(h, c, weights.weight_hh, weights.bias_hh)
        return torch.cat(cell.reference_step(pre, u, c, weights.units)[: len(cell.states)])

    pushes = Pushforward(cell, weights, trajectory)
    of_input = torch.randn(FEATURES * cell.window, 2, dtype=torch.float64)
    for step, jacobian in enumerate(pushes.jacobians()):
        for sample in range(BATCH):
            before = torch.cat([trajectory.states[state][step, sample] for state in cell.states])
            to_input, to_state = torch.func.jacrev(stepped, (0, 1))(trajectory.inputs[step, sample], before)
            torch.testing.assert_close(jacobian[sample], to_state, rtol=1e-12, atol=1e-13)
            found = pushes.input(step + 1, of_input)[sample]
            torch.testing.assert_close(found, to_input @ of_input, rtol=1e-12, atol=1e-13)


def test_nothing_passes_into_a_step_that_starts_from_zeros():
    weights, _ = run(cells.LSTM())
    restarts = torch.tensor([[False, False], [True, False], [False, False], [False, True]])
    initial = {state: torch.randn(BATCH, HIDDEN, dtype=torch.float64) for state in "hc"}
    inputs = torch.randn(STEPS, BATCH, FEATURES, dtype=torch.float64)
    trajectory = unroll(cells.LSTM(), Weights(**weights), inputs, initial, restarts=restarts)
    for step, jacobian in enumerate(Pushforward(cells.LSTM(), Weights(**weights), trajectory).jacobians()):
        assert (jacobian.flatten(1).abs().amax(1) == 0).tolist() == restarts[step].tolist()


def test_nothing_passes_where_a_sample_rests():
    weights, trajectory = run(cells.GRU())
    running = torch.tensor([[True, True], [True, False], [True, False], [True, False]])
    padded = type(trajectory)(
        trajectory.inputs, trajectory.input_pre, trajectory.recurrent_pre, trajectory.states, running
    )
    jacobians = torch.stack(list(Pushforward(cells.GRU(), Weights(**weights), padded).jacobians()))
    whole = torch.stack(list(Pushforward(cells.GRU(), Weights(**weights), trajectory).jacobians()))
    torch.testing.assert_close(jacobians, whole * running[:, :, None, None], rtol=0, atol=0)


def test_directions_are_at_right_angles():
    weights, trajectory = run(cells.LSTM())
    pushes = Pushforward(cells.LSTM(), Weights(**weights), trajectory)
    for count, expected in ((4, 4), (None, 6), (99, 6)):
        found = pushes.directions(count)
        assert found.shape == (BATCH, 6, expected)
        torch.testing.assert_close(found.mT @ found, torch.eye(expected).double().expand(BATCH, -1, -1))
