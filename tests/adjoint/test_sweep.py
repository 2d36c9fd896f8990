"""The sweep: against autograd, far below the range of a float, and in every order of doing the work."""

import math

import mpmath
import pytest
import torch

from throughtime.adjoint import (
    AtEveryStep,
    AtOnce,
    AtOneStep,
    Pullback,
    Scaled,
    derivatives,
    step_products,
    sweep,
    under_way,
)
from throughtime.adjoint.step_products import TorchProducts
from throughtime.cells import ALL_CELLS, LSTM, RNN
from throughtime.unroll import Recurrent, Trajectory, Weights, unroll


@pytest.fixture(params=["step by step", "ahead"], autouse=True)
def way(request, monkeypatch):
    """As on the CPU, and as on a GPU: by torch, several steps before anything is looked at."""
    if request.param == "ahead":
        monkeypatch.setattr(under_way, "NUMBERS_AHEAD", AtOnce(2**24, 2**24))
        monkeypatch.setattr(derivatives, "StepProducts", TorchProducts)


def film(cell, steps, batch, hidden, dtype=torch.float64, seed=0):
    torch.manual_seed(seed)
    layer = Recurrent(cell, 3, hidden, dtype=dtype)
    inputs = torch.randn(steps, batch, 3 * cell.window, dtype=dtype)
    initial = {state: torch.randn(batch, hidden, dtype=dtype) for state in cell.states}
    return Pullback(cell, layer.weights(0, 0), unroll(cell, layer.weights(0, 0), inputs, initial)), layer


def projected(steps, dtype=torch.float64, scale=1.0):
    """An LSTM of 4 units projected to 2 features."""
    torch.manual_seed(0)
    shapes = (16, 3), (16, 2), (16,), (16,), (2, 4)
    weights = Weights(*(scale * torch.rand(shape, dtype=dtype) - scale / 2 for shape in shapes))
    initial = {"h": torch.randn(2, 2, dtype=dtype), "c": torch.randn(2, 4, dtype=dtype)}
    return Pullback(LSTM(), weights, unroll(LSTM(), weights, torch.randn(steps, 2, 3, dtype=dtype), initial))


def played(pull, entering, sources, state):
    """The adjoints as plain numbers, (source, state_step, batch, hidden), and their logarithms, (…, batch)."""
    states = pull.trajectory.states[state]
    adjoints = states.new_zeros(sources, *states.shape)
    ln_norms = torch.full(adjoints.shape[:-1], -torch.inf, dtype=torch.float64)
    for frame in sweep(pull, entering, sources, torch.zeros(sources, dtype=torch.long)):
        scale = frame.adjoint.log_scale.exp().to(states.dtype).unsqueeze(-1)
        adjoints[frame.sources, frame.step] = frame.adjoint.values[state] * scale
        ln_norms[frame.sources, frame.step] = frame.ln_square[state] / 2
    return adjoints, ln_norms


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
@torch.no_grad()
def test_forming_the_step_jacobian_changes_nothing(cell, monkeypatch):
    formed_or_not(lambda: film(cell, 12, 2, 4)[0], monkeypatch)


@torch.no_grad()
def test_forming_the_step_jacobian_of_a_projected_cell_changes_nothing(monkeypatch):
    formed_or_not(lambda: projected(12), monkeypatch)


def formed_or_not(made, monkeypatch):
    results = []
    for formed in (True, False):
        # One at a time, so that there is a choice.
        monkeypatch.setattr(step_products, "NUMBERS_AT_ONCE", 2**22 if formed else 0)
        monkeypatch.setattr(Pullback, "_forming_pays", lambda self, gates, sources, formed=formed: formed)
        pull = made()
        direct = torch.ones(12, *pull.trajectory.states["h"].shape[1:], dtype=torch.float64)
        results.append(played(pull, [AtOneStep(direct, torch.arange(1, 13))], 12, pull.cell.carried)[0])
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", [RNN(), LSTM()], ids=repr)
@torch.no_grad()
def test_of_steps_that_are_played_ahead_few_are_looked_at(cell, monkeypatch):
    looked_at, own = [], Scaled.normalised_
    monkeypatch.setattr(under_way, "NUMBERS_AHEAD", AtOnce(2**24, 2**24))
    monkeypatch.setattr(Scaled, "normalised_", lambda self: looked_at.append(1) or own(self))
    direct = torch.randn(1, 2, 16, dtype=torch.float64)
    played(film(cell, 128, 2, 16)[0], [AtOneStep(direct, torch.tensor([128]))], 1, "h")
    assert len(looked_at) <= 1 + 128 / 8


@pytest.mark.parametrize("cell", [cell for cell in ALL_CELLS if cell.carried == "h"], ids=repr)
@torch.no_grad()
def test_paths_add_up_to_what_passes_and_end_where_it_is_stopped(cell):
    pull, stops = film(cell, 6, 2, 4)[0], torch.arange(6) == 3
    pull = pull.stopping_at(stops)
    adjoint = torch.randn(6, 1, 2, 4, dtype=torch.float64)
    paths = pull.path_slopes(torch.arange(1, 7), {"h": adjoint})
    total = torch.zeros_like(adjoint)
    for direct, by_gate in paths.values():
        for part in (direct, pull.through_weights(by_gate)):
            total += 0 if part is None else part
    for place in range(6):
        passed, _ = pull.previous_hidden(place + 1, {"h": adjoint[place]})
        torch.testing.assert_close(total[place], passed, rtol=1e-12, atol=1e-14)
        assert (passed == 0).all() == stops[place] or not pull.cell.gates


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
@torch.no_grad()
def test_sources_may_be_followed_together_or_alone(cell):
    pull, _ = film(cell, 9, 2, 4, torch.float32)
    direct = torch.randn(9, 2, 4)
    together, _ = played(pull, [AtOneStep(direct, torch.arange(1, 10))], 9, "h")
    for source in range(9):
        alone, _ = played(pull, [AtOneStep(direct[source : source + 1], torch.tensor([source + 1]))], 1, "h")
        torch.testing.assert_close(alone[0], together[source], rtol=1e-5, atol=1e-7)


@torch.no_grad()
def test_what_enters_at_every_step_adds_up():
    pull, _ = film(RNN(), 6, 2, 4)
    values = torch.randn(3, 6, 2, 4, dtype=torch.float64)
    log_scale = torch.randn(3, 6, 2, dtype=torch.float64) * 30
    whole, _ = played(pull, [AtEveryStep(values, log_scale)], 3, "h")
    plain = values * log_scale.exp().unsqueeze(-1)
    parts = [AtOneStep(plain[:, step], torch.full((3,), step + 1)) for step in range(6)]
    torch.testing.assert_close(whole, played(pull, parts, 3, "h")[0], rtol=1e-12, atol=0)


@torch.no_grad()
def test_a_source_is_not_followed_past_its_last_step():
    pull, _ = film(RNN(), 6, 1, 4)
    entering = [AtOneStep(torch.ones(6, 1, 4, dtype=torch.float64), torch.arange(1, 7))]
    seen = [(frame.step, frame.sources.tolist()) for frame in sweep(pull, entering, 6, torch.arange(1, 7) - 1)]
    assert seen == [(6, [5]), *((step, [step, step - 1]) for step in range(5, 0, -1)), (0, [0])]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_a_saturated_network_is_followed_two_thousand_steps(dtype):
    """One unit, w = 2, pre-activation about 6 at every step: the slope is 2 / cosh(a)^2, the product e^-18000 or so."""
    steps = 2000
    weights = Weights(torch.ones(1, 1, dtype=dtype), torch.full((1, 1), 2.0, dtype=dtype))
    inputs = 4 + torch.rand(steps, 1, 1, generator=torch.Generator().manual_seed(0)).to(dtype)
    trajectory = unroll(RNN(), weights, inputs, {"h": torch.zeros(1, 1, dtype=dtype)})
    entering = [AtOneStep(torch.ones(1, 1, 1, dtype=dtype), torch.tensor([steps]))]
    _, ln_norms = played(Pullback(RNN(), weights, trajectory), entering, 1, "h")
    a = (trajectory.input_pre + trajectory.recurrent_pre).flatten().tolist()
    expected = sum(mpmath.log(2 * mpmath.sech(value) ** 2) for value in a)
    assert expected < -15000
    assert float(ln_norms[0, 0, 0]) == pytest.approx(float(expected), rel=1e-5 if dtype == torch.float32 else 1e-13)


def test_where_autograd_says_zero():
    pull, layer = film(RNN(), 400, 1, 4, torch.float32)
    with torch.no_grad():
        layer.weight_hh_l0 *= 0.05
    start = torch.zeros(1, 4, requires_grad=True)
    hidden = unroll(RNN(), layer.weights(0, 0), pull.trajectory.inputs, {"h": start}).states["h"]
    assert torch.autograd.grad(hidden[-1].sum(), start)[0].abs().max() == 0
    with torch.no_grad():
        trajectory = unroll(RNN(), layer.weights(0, 0), pull.trajectory.inputs, {"h": start})
        entering = [AtOneStep(torch.ones(1, 1, 4), torch.tensor([400]))]
        _, ln_norms = played(Pullback(RNN(), layer.weights(0, 0), trajectory), entering, 1, "h")
        # The same product in float64, rescaled after every step.
        adjoint, expected = torch.ones(4, dtype=torch.float64), 0.0
        a = (trajectory.input_pre + trajectory.recurrent_pre)[:, 0].double()
        for slope in torch.cosh(a).pow(-2).flip(0):
            adjoint = (adjoint * slope) @ layer.weight_hh_l0.double()
            expected, adjoint = expected + adjoint.norm().log(), adjoint / adjoint.norm()
    assert expected < -1000
    assert float(ln_norms[0, 0, 0]) == pytest.approx(float(expected), rel=1e-5)


@torch.no_grad()
def test_a_projected_cell_below_the_range_of_a_float():
    """In float32 against the same derivatives in float64, rescaled by hand after every step."""
    pull = projected(500, torch.float32, scale=0.5)
    _, ln_norms = played(pull, [AtOneStep(torch.ones(1, 2, 2), torch.tensor([500]))], 1, "c")
    weights = Weights(**{name: weight.double() for name, weight in pull.weights.named().items()})
    inputs, start = pull.trajectory.inputs.double(), {n: s[0].double() for n, s in pull.trajectory.states.items()}
    states = unroll(LSTM(), weights, inputs, start).states
    h, c, expected = torch.ones(2, 2, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.float64), torch.zeros(2, 1)
    for step in reversed(range(500)):
        before = {name: state[step].requires_grad_() for name, state in states.items()}
        with torch.enable_grad():
            after = unroll(LSTM(), weights, inputs[step : step + 1], before).states
            h, c = torch.autograd.grad([after["h"][1], after["c"][1]], list(before.values()), [h, c])
        size = (h.square().sum(-1, keepdim=True) + c.square().sum(-1, keepdim=True)).sqrt()
        h, c, expected = h / size, c / size, expected + size.log()
    expected = (expected + c.norm(dim=-1, keepdim=True).log()).squeeze(1)
    assert (expected < -200).all()
    torch.testing.assert_close(ln_norms[0, 0], expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("weight", [math.e, 1 / math.e])
@torch.no_grad()
def test_growth_and_decay_by_five_thousand_nats_in_float32(weight):
    """A ReLU unit with positive inputs is linear: its derivative is weight^steps, e^+5000 or e^-5000."""
    steps = 5000
    weights = Weights(torch.zeros(1, 1), torch.full((1, 1), weight))
    # The states would leave the range long before; only the slopes, all 1, matter here.
    ones, zeros = torch.ones(steps, 1, 1), torch.zeros(steps, 1, 1)
    held = Trajectory(zeros, ones, zeros, {"h": torch.ones(steps + 1, 1, 1)})
    entering = [AtOneStep(torch.ones(1, 1, 1), torch.tensor([steps]))]
    _, ln_norms = played(Pullback(RNN("relu"), weights, held), entering, 1, "h")
    assert float(ln_norms[0, 0, 0]) == pytest.approx(steps * math.log(float(weights.weight_hh)), rel=1e-6)
    assert ln_norms.isfinite().all()
