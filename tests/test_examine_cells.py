"""Every cell in a layer, examined, against plain autograd over the same equations, step by step."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import naive
import throughtime as tt
from throughtime import Cell, Update, sigmoid, tanh
from throughtime.cells import ALL_CELLS

# Pairs of units must be possible.
STEPS, BATCH, FEATURES, HIDDEN = 6, 3, 3, 4


class InputOnly(Cell):
    gates = ("f", "n", "o")
    states = ("h", "c")
    enters = "none"

    def step(self, x: Any, u: Any, c: Any) -> Update:
        return Update(keep=sigmoid(x.f), write=1, candidate=x.n, output=lambda c: sigmoid(x.o) * c, held=tanh(c))


class Model(nn.Module):
    def __init__(self, cell: Cell, **keywords: Any) -> None:
        super().__init__()
        self.recurrence = tt.Recurrent(cell, FEATURES, HIDDEN, **keywords)
        self.readout = nn.Linear(HIDDEN * (1 + self.recurrence.bidirectional), 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.readout(self.recurrence(inputs)[0])


def losses_of(output: torch.Tensor, targets: Any = None) -> torch.Tensor:
    return output.square().sum((1, 2))


def unrolled(layer: tt.Recurrent, direction: int, sequence: torch.Tensor) -> naive.Run:
    """The layer step by step, every step with copies of its weights; states and copies in reading order."""
    cell, weights = layer.cell, layer.weights(0, direction).named()
    read = sequence.flip(0) if direction else sequence
    zeros = torch.zeros_like(read[:1])
    read = torch.cat([torch.cat([zeros] * n + [read[: STEPS - n]]) for n in range(cell.window - 1, -1, -1)], dim=-1)
    start = sequence.new_zeros(BATCH, HIDDEN).requires_grad_()
    states = naive.Run([start], [start if cell.carried == "h" else start.detach().requires_grad_()], [])
    for x in read:
        copies = {name: weight.detach().clone().requires_grad_() for name, weight in weights.items()}
        pre = nn.functional.linear(x, copies["weight_ih"], copies.get("bias_ih"))
        before = states.hidden[-1], states.carried[-1]
        u = cell.recurrent_pre(*before, copies.get("weight_hh"), copies.get("bias_hh"))
        units = {name: copies[f"weight_{name}"] for name in cell.units}
        h, c = cell.reference_step(pre, u, before[1], units)
        states.hidden.append(h)
        states.carried.append(c)
        states.copies.append(copies)
    return states


@pytest.mark.parametrize("keywords", [{}, {"bidirectional": True, "bias": False}], ids=str)
@pytest.mark.parametrize("cell", [*ALL_CELLS[2:], InputOnly()], ids=repr)
def test_maps_terms_and_causes_equal_autograd(cell, keywords):
    torch.manual_seed(0)
    model = Model(cell, **keywords).double()
    for parameter in model.recurrence.parameters():
        nn.init.uniform_(parameter, -1, 1)
    inputs = torch.randn(STEPS, BATCH, FEATURES, dtype=torch.float64)
    exam = tt.examine(model, inputs, loss=losses_of)
    runs = [unrolled(model.recurrence, direction, inputs) for direction in range(1 + model.recurrence.bidirectional)]
    outputs = [torch.stack(run.hidden[1:]).flip([0] * index) for index, run in enumerate(runs)]
    losses = list(losses_of(model.readout(torch.cat(outputs, -1))).unbind(0))
    for name, run in zip(exam.recurrences, runs, strict=True):
        reverse = name.endswith("reverse")
        for state, states in (("h", run.hidden), ("c", run.carried)):
            if state in exam[name].state.values:
                expected = naive.gradient_map(losses, states)
                expected = expected.flip(1) if reverse else expected
                np.testing.assert_allclose(exam[name].gradient_map.sel(state=state), expected, rtol=0, atol=1e-9)
        for weight in run.copies[0]:
            norms = naive.weight_terms(losses, run, weight).flatten(2).norm(dim=-1)
            found = exam.weight_terms(name, weight)
            np.testing.assert_allclose(found.norm, norms.flip(1) if reverse else norms, rtol=1e-9, atol=1e-12)
            assert found.attrs["relative_error"] < 1e-9
        causes = exam.causes(name)
        column = exam[name].gradient_map.sel(state=causes.attrs["state"]).values
        with np.errstate(invalid="ignore"):
            change = column[:, 1:] - column[:, :-1] if reverse else column[:, :-1] - column[:, 1:]
        active = np.isfinite(change)
        assert active.any()
        np.testing.assert_allclose(causes.nats.sum("cause").values[active], change[active], rtol=0, atol=1e-12)


def test_weights_that_are_not_there_have_no_terms():
    torch.manual_seed(0)
    exam = tt.examine(Model(InputOnly()), torch.randn(STEPS, BATCH, FEATURES), loss=losses_of)
    with pytest.raises(KeyError, match="weight_hh"):
        exam.weight_terms("recurrence.l0", "weight_hh")
