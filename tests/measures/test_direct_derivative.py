"""Direct and total derivative: the powers of a scalar linear network, and naive autograd."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import naive
import throughtime as tt

W, STEPS = 0.5, 6


class Linear(tt.Cell):
    """h_t = x_t + W h_{t-1}."""

    gates = ("h",)

    def step(self, x, u, h):
        return tt.Update(keep=0, write=1, candidate=x.h + u.h)


def linear():
    layer = tt.Recurrent(Linear, 1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(layer.weight_hh_l0, W)
    return layer


@pytest.mark.parametrize("parted", [False, True])
def test_a_scalar_linear_network(parted, in_parts):
    """With l_t = t h_t, dl_t/dh_t is t, and dL/dh_i is the sum over t from i on of t w^(t-i)."""
    if parted:
        in_parts()
    factors = torch.arange(1.0, STEPS + 1, dtype=torch.float64)
    exam = tt.examine(
        linear(),
        torch.ones(STEPS, 2, 1, dtype=torch.float64),
        loss=lambda output, _: output[0].sum((1, 2)) * factors,
    )
    found = exam["l0"].sel(state="h")
    np.testing.assert_allclose(found.direct_derivative, factors.log(), rtol=0, atol=1e-12)
    total = [sum(t * W ** (t - i) for t in range(i, STEPS + 1)) for i in range(1, STEPS + 1)]
    np.testing.assert_allclose(found.total_derivative, np.log(total), rtol=0, atol=1e-12)


def test_a_loss_that_reads_the_step_before_sends_its_derivative_there():
    exam = tt.examine(
        linear(),
        torch.ones(STEPS, 2, 1, dtype=torch.float64),
        loss=lambda output, _: torch.cat([output[0].new_zeros(1), 3 * output[0][:-1].sum((1, 2))]),
    )
    direct = exam["l0"].direct_derivative.sel(state="h")
    np.testing.assert_allclose(direct, [-np.inf, *[math.log(3)] * (STEPS - 1)], atol=1e-12)


class Model(nn.Module):
    """Two layers, read in a way that differs from step to step."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.recurrence = getattr(nn, kind.upper())(2, 3, num_layers=2, bidirectional=kind == "gru")
        self.readout = nn.Linear(3 * (1 + (kind == "gru")), 2)

    def forward(self, inputs):
        return self.after(self.recurrence(inputs)[0])

    def after(self, states):
        return self.readout(states).square().sum((1, 2)).cumsum(0)


@pytest.mark.parametrize(("parted", "keywords"), [(False, {}), (True, {}), (False, {"loss_steps": [2, 3, 6]})], ids=str)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_against_naive_autograd(kind, parted, keywords, in_parts):
    """Every loss reads all steps up to its own, and in the layer below, or in reverse, later states as well."""
    if parted:
        in_parts()
    torch.manual_seed(0)
    model, inputs = Model(kind).double(), torch.randn(STEPS, 3, 2, dtype=torch.float64)
    exam = tt.examine(model, inputs, loss=lambda output, _: output, **keywords)
    layers = naive.layers(model.recurrence, list(inputs.unbind(0)))
    steps = np.array(keywords.get("loss_steps", range(1, STEPS + 1)))
    losses = list(model.after(torch.stack(layers.outputs)).unbind(0))
    losses = [losses[step - 1] for step in steps]
    for name, run in layers.runs.items():
        reverse = name.endswith("reverse")
        read = STEPS + 1 - steps if reverse else steps
        for state, states in (("h", run.hidden), ("c", run.carried)):
            if state not in exam[f"recurrence.{name}"].state:
                continue
            found = exam[f"recurrence.{name}"].sel(state=state)
            total = naive.gradient_map([torch.stack(losses).sum()], states)[0, read]
            np.testing.assert_allclose(found.total_derivative, total, rtol=0, atol=1e-10)
            by_state = naive.gradient_map(losses, states)
            last = [int(np.flatnonzero(np.isfinite(row))[-1]) for row in by_state.numpy()]
            expected = by_state[range(len(losses)), last]
            np.testing.assert_allclose(found.direct_derivative, expected, rtol=0, atol=1e-10)


def test_of_many_states_evenly_spread_ones_are_looked_at():
    exam = tt.examine(
        linear(), torch.ones(100, 1, 1, dtype=torch.float64), loss=lambda output, _: output[0].sum((1, 2))
    )
    total = exam["l0"].total_derivative.sel(state="h").dropna("loss_step")
    assert len(total) == 16 and [int(total.loss_step[0]), int(total.loss_step[-1])] == [1, 100]
    expected = np.log((1 - W ** (101.0 - total.loss_step)) / (1 - W))
    np.testing.assert_allclose(total, expected, rtol=0, atol=1e-12)


def test_without_a_loss_there_is_neither(tmp_path):
    torch.save(nn.GRU(2, 3).state_dict(), tmp_path / "weights.pt")
    measures = tt.examine_checkpoint(tmp_path / "weights.pt", steps=4)["l0"]
    assert "direct_derivative" not in measures and "total_derivative" not in measures
