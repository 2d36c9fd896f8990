"""torch's own functions against the reference, also as they are where they can be derived once only."""

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from throughtime.cells import GRU, LSTM, RNN, Cell
from throughtime.fused import run, torchs_own
from throughtime.fused.executor import executor

# Not by its dotted name: the package has a function of the same.
MODULE = sys.modules["throughtime.fused.torchs_own"]
CELLS = (RNN(), RNN("relu"), GRU(), LSTM())


class Drawn:
    def __init__(self, cell: Cell) -> None:
        torch.manual_seed(0)
        self.cell, self.shapes = cell, cell.weight_shapes(4, 5)
        drawn = [torch.randn(7, 3, 4), *(torch.randn(shape) for shape in self.shapes.values())]
        drawn += [torch.randn(3, 5) for _ in cell.states]
        self.tensors = [one.double().requires_grad_() for one in drawn]

    def outputs(self, own: bool, reverse: bool, *tensors: Tensor) -> list[Tensor]:
        inputs, *rest = tensors
        weights = dict(zip(self.shapes, rest, strict=False))
        initial = dict(zip(self.cell.states, rest[len(self.shapes) :], strict=True))
        if own:
            found = torchs_own(self.cell, inputs, weights, initial, reverse=reverse, training=True)
        else:
            found = run(self.cell, inputs, weights, initial, reverse=reverse, by="reference")
        return [found.steps["h"], *found.last.values()]

    def gradients(self, own: bool, reverse: bool) -> tuple[Tensor, ...]:
        loss = sum(one.sin().sum() for one in self.outputs(own, reverse, *self.tensors))
        return torch.autograd.grad(loss, self.tensors)


@pytest.fixture(params=["twice", "once"])
def derivable(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "once":
        monkeypatch.setattr(MODULE, "_derives_twice", lambda inputs: False)


@pytest.mark.usefixtures("derivable")
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_outputs_and_gradients(cell: Cell, reverse: bool) -> None:
    drawn = Drawn(cell)
    torch.testing.assert_close(*(drawn.outputs(own, reverse, *drawn.tensors) for own in (True, False)))
    torch.testing.assert_close(*(drawn.gradients(own, reverse) for own in (True, False)))


@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_second_and_several_derivatives_where_there_is_one(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "_derives_twice", lambda inputs: False)
    drawn = Drawn(cell)

    def outputs(*tensors: Tensor) -> list[Tensor]:
        return drawn.outputs(True, True, *tensors)

    assert torch.autograd.gradcheck(outputs, drawn.tensors, fast_mode=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(outputs, drawn.tensors, fast_mode=True)


def test_autocast_is_the_references() -> None:
    sequence = torch.zeros(5, 2, 3)
    assert executor(LSTM(), sequence, plain=True) == "torch"
    with torch.autocast("cpu", torch.bfloat16):
        assert executor(LSTM(), sequence, plain=True) == "reference"
