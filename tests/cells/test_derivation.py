"""What is derived from a cell's equations equals `torch.func` on its reference step, in float64."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import jacrev

from throughtime.cells import ALL_CELLS, Cell, Partial, Update, derive, sigmoid, tanh
from throughtime.notation import UPDATE_PATHS

HIDDEN = 5


class MGU(Cell):
    """The minimal gated unit (Zhou et al. 2016): one gate, and a product of a gate with a recurrent pre-activation."""

    gates = ("f", "n")

    def step(self, x: Any, u: Any, h: Any) -> Update:
        f = sigmoid(x.f + u.f)
        return Update(keep=1 - f, write=f, candidate=tanh(x.n + f * u.n))


class Peephole(Cell):
    """A cell that no path is missing from: both gates and the candidate see the carried state itself, too."""

    gates = ("i", "f", "g", "o")
    states = ("h", "c")

    def step(self, x: Any, u: Any, c: Any) -> Update:
        return Update(
            keep=sigmoid(x.f + u.f + 0.3 * c),
            write=sigmoid(x.i + u.i - 0.7 * c),
            candidate=tanh(x.g + u.g * c),
            output=lambda after: sigmoid(x.o + u.o + 0.2 * after) * tanh(after),
        )


class Linear(Cell):
    """All slopes are constants."""

    gates = ("h",)

    def step(self, x: Any, u: Any, h: Any) -> Update:
        return Update(keep=0, write=1, candidate=x.h + u.h)


CELLS = [*ALL_CELLS, MGU(), Peephole(), Linear()]
pytestmark = pytest.mark.parametrize("cell", CELLS, ids=repr)


class At:
    """A random point of a cell: pre-activations, weights and states, and the derived partials there."""

    def __init__(self, cell: Cell) -> None:
        generator = torch.Generator().manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        rows = len(cell.gates) * HIDDEN
        self.cell, self.x, self.hidden, self.before = cell, draw(rows), draw(HIDDEN), draw(HIDDEN)
        if cell.carried == "h":
            self.hidden = self.before
        self.weight_hh, self.bias_hh = draw(rows, HIDDEN), draw(rows)
        self.u = self.weight_hh @ self.hidden + self.bias_hh
        self.after = cell.reference_step(self.x, self.u, self.before)[1]

    def partial(self, evaluate: Any) -> Partial:
        return evaluate(self.cell.split(self.x), self.cell.split(self.u), self.before, self.after)

    def recurrent_map(self, partial: Partial) -> Tensor:
        """What the recurrent pre-activations contribute to the derivative with respect to h_{t-1}."""
        weights = self.cell.split(self.weight_hh.T)
        terms = [torch.diag(slope) @ weights[gate].T for gate, slope in partial.recurrent.items()]
        return sum(terms, start=torch.zeros(HIDDEN, HIDDEN, dtype=torch.float64))

    def carried_map(self, partial: Partial) -> Tensor:
        zeros = torch.zeros(HIDDEN, dtype=torch.float64)
        return torch.diag(zeros if partial.carried is None else partial.carried)

    def step_jacobian(self, update: list[Partial], hidden: Partial | None) -> Tensor:
        """d s_i / d s_{i-1} for s = h, or s = (h, c), from derived partials that add up to the update's."""
        recurrent = sum(self.recurrent_map(part) for part in update)
        carried = sum(self.carried_map(part) for part in update)
        if hidden is None:
            return recurrent + carried
        c_row = torch.cat([recurrent, carried], dim=1)
        direct = torch.cat([self.recurrent_map(hidden), torch.zeros_like(carried)], dim=1)
        return torch.cat([self.carried_map(hidden) @ c_row + direct, c_row])

    def reference_jacobian(self) -> Tensor:
        """The same, by autograd on the reference step."""

        def step(state: Tensor) -> Tensor:
            h, carried = (state, state) if self.cell.carried == "h" else state.chunk(2)
            new = self.cell.reference_step(self.x, self.weight_hh @ h + self.bias_hh, carried)
            return new[0] if self.cell.carried == "h" else torch.cat(new)

        return jacrev(step)(self.before if self.cell.carried == "h" else torch.cat([self.hidden, self.before]))


def assert_partials_equal_autograd(at: At, partial: Partial, function: Any, state: Tensor) -> None:
    """Every Jacobian is diagonal by gate, with the derived coefficients on it, zero where one was left out."""
    by_x, by_u, by_state = jacrev(function, argnums=(0, 1, 2))(at.x, at.u, state)
    zero = torch.zeros_like(state)
    for derived, jacobian in ((partial.input, by_x), (partial.recurrent, by_u)):
        expected = torch.cat([torch.diag(derived.get(gate, zero)) for gate in at.cell.gates], dim=1)
        torch.testing.assert_close(expected, jacobian, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(at.carried_map(partial), by_state, rtol=1e-12, atol=1e-15)


def test_update_partials(cell: Cell) -> None:
    at = At(cell)
    partial = at.partial(derive(cell).evaluate_update)
    assert_partials_equal_autograd(at, partial, lambda x, u, s: cell.reference_step(x, u, s)[1], at.before)


def test_hidden_partials(cell: Cell) -> None:
    at = At(cell)
    if derive(cell).hidden is None:
        assert cell.states == ("h",)
        return

    def output(x: Tensor, u: Tensor, after: Tensor) -> Tensor:
        gates_x, gates_u = SimpleNamespace(**cell.split(x)), SimpleNamespace(**cell.split(u))
        return cell.step(gates_x, gates_u, at.before).output(after)

    assert_partials_equal_autograd(at, at.partial(derive(cell).evaluate_hidden), output, at.after)


def test_step_jacobian(cell: Cell) -> None:
    at, derivation = At(cell), derive(cell)
    hidden = None if derivation.hidden is None else at.partial(derivation.evaluate_hidden)
    derived = at.step_jacobian([at.partial(derivation.evaluate_update)], hidden)
    torch.testing.assert_close(derived, at.reference_jacobian(), rtol=1e-11, atol=1e-13)


def test_paths_add_up_to_the_step_jacobian(cell: Cell) -> None:
    at, derivation = At(cell), derive(cell)
    hidden = None if derivation.hidden is None else at.partial(derivation.evaluate_hidden)
    paths = [at.partial(evaluate) for evaluate in derivation.evaluate_paths.values()]
    torch.testing.assert_close(at.step_jacobian(paths, hidden), at.reference_jacobian(), rtol=1e-11, atol=1e-13)


def test_paths_are_the_products_that_define_them(cell: Cell) -> None:
    at, derivation = At(cell), derive(cell)

    def factors(u: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        update = cell.step(SimpleNamespace(**cell.split(at.x)), SimpleNamespace(**cell.split(u)), before)
        return tuple(
            torch.as_tensor(f, dtype=u.dtype).expand(HIDDEN) for f in (update.keep, update.candidate, update.write)
        )

    keep, candidate, write = factors(at.u, at.before)
    others = dict(zip(UPDATE_PATHS[1:], (at.before, write, candidate), strict=True))
    slopes = dict(zip(UPDATE_PATHS[1:], jacrev(factors)(at.u, at.before), strict=True))
    evaluated = {path: at.partial(evaluate) for path, evaluate in derivation.evaluate_paths.items()}
    assert tuple(evaluated) == tuple(path for path in UPDATE_PATHS if path in evaluated)
    if "carry" in evaluated:
        torch.testing.assert_close(evaluated["carry"].carried, keep)
        assert evaluated["carry"].recurrent == {}
    for path, other in others.items():
        expected = torch.diag(other) @ slopes[path] @ at.weight_hh
        derived = at.recurrent_map(evaluated[path]) if path in evaluated else torch.zeros_like(expected)
        torch.testing.assert_close(derived, expected, rtol=1e-11, atol=1e-13)


def test_partials_have_the_shape_and_dtype_of_the_states(cell: Cell) -> None:
    x, before = torch.randn(3, 2, len(cell.gates) * HIDDEN), torch.randn(3, 2, HIDDEN)
    after = cell.reference_step(x, x, before)[1]
    partial = derive(cell).evaluate_update(cell.split(x), cell.split(x), before, after)
    tensors = [*partial.recurrent.values(), *partial.input.values()]
    tensors += [] if partial.carried is None else [partial.carried]
    assert {(tensor.shape, tensor.dtype) for tensor in tensors} == {(before.shape, torch.float32)}


def test_derived_once(cell: Cell) -> None:
    assert derive(cell) is derive(cell)
