"""What is derived from a cell's equations equals `torch.func` on its reference step, in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import jacrev

from throughtime.cells import ALL_CELLS, Cell, Partial, Update, derive, sigmoid, tanh
from throughtime.notation import CANDIDATE, CARRY, KEEP_GATE, WRITE_GATE
from throughtime.unroll import Weights

HIDDEN = 6


class EveryPath(Cell):
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


class UnitByUnit(Cell):
    """The state enters two of three gates unit by unit; a learned vector in the update and one in the output."""

    gates = ("f", "n", "r")
    states = ("h", "c")
    enters = "diagonal"
    recurrent_gates = ("f", "r")
    units = ("scale", "leak")

    def step(self, x: Any, u: Any, c: Any, units: Any) -> Update:
        f, r = sigmoid(x.f + u.f), sigmoid(x.r + u.r)
        return Update(keep=f, write=1 - f, candidate=units.scale * x.n, output=lambda c: r * tanh(c) + units.leak * c)


class InputOnly(Cell):
    """The state enters no gate, and what is kept is a function of it."""

    gates = ("f", "n")
    enters = "none"

    def step(self, x: Any, u: Any, h: Any) -> Update:
        return Update(keep=sigmoid(x.f), write=1, candidate=tanh(x.n), held=tanh(h))


class Linear(Cell):
    """All slopes are constants."""

    gates = ("h",)

    def step(self, x: Any, u: Any, h: Any) -> Update:
        return Update(keep=0, write=1, candidate=x.h + u.h)


class Powers(Cell):
    """Powers of powers, as in the RG-LRU (De et al. 2024, arXiv:2402.19427), and the size of a number."""

    gates = ("r", "n")
    units = ("lam",)

    def step(self, x, u, h, w):
        keep = sigmoid(w.lam) ** (8 * sigmoid(x.r + u.r))
        return Update(keep=keep, write=(1 - keep**2) ** 0.5, candidate=abs(x.n + u.n) * 2.0 ** -((x.n + u.n) ** 2))


CELLS = [*ALL_CELLS, EveryPath(), UnitByUnit(), InputOnly(), Linear(), Powers()]
pytestmark = pytest.mark.parametrize("cell", CELLS, ids=repr)


class At:
    """A random point of a cell: pre-activations, weights and states, and the derived partials there."""

    def __init__(self, cell: Cell) -> None:
        generator = torch.Generator().manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        self.cell, self.hidden, self.before = cell, draw(HIDDEN), draw(HIDDEN)
        if cell.carried == "h":
            self.hidden = self.before
        drawn = {name: draw(*shape) for name, shape in cell.weight_shapes(1, HIDDEN).items()}
        weights = Weights.of(cell.made(drawn))
        self.weights, self.units, self.x = weights, weights.units, draw(len(cell.gates) * HIDDEN)
        self.u = self.entering(self.hidden, self.before)
        self.after = cell.reference_step(self.x, self.u, self.before, self.units)[1]

    def entering(self, hidden: Tensor, carried: Tensor) -> Tensor:
        return self.cell.recurrent_pre(hidden, carried, self.weights.weight_hh, self.weights.bias_hh)

    def update(self, x: Tensor, u: Tensor, before: Tensor, *units: Tensor) -> Update:
        return self.cell.update(x, u, before, dict(zip(self.cell.units, units, strict=True)))

    def partial(self, evaluate: Any) -> Partial:
        return evaluate(self.cell.split(self.x), self.cell.split_recurrent(self.u), self.before, self.after, self.units)

    def recurrent_map(self, partial: Partial) -> Tensor:
        """What the recurrent pre-activations contribute to the derivative with respect to what they are made of."""
        weights = self.weights.by_gate(self.cell)
        if self.cell.enters == "diagonal":
            weights = {gate: torch.diag(vector) for gate, vector in weights.items()}
        terms = [torch.diag(slope) @ weights[gate] for gate, slope in partial.recurrent.items()]
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
        direct = self.recurrent_map(hidden)
        if self.cell.enters == "diagonal":
            c_row = torch.cat([torch.zeros_like(carried), carried + recurrent], dim=1)
            direct = torch.cat([torch.zeros_like(direct), direct], dim=1)
        else:
            c_row = torch.cat([recurrent, carried], dim=1)
            direct = torch.cat([direct, torch.zeros_like(direct)], dim=1)
        return torch.cat([self.carried_map(hidden) @ c_row + direct, c_row])

    def reference_jacobian(self) -> Tensor:
        """The same, by autograd on the reference step."""

        def step(state: Tensor) -> Tensor:
            h, carried = (state, state) if self.cell.carried == "h" else state.chunk(2)
            new = self.cell.reference_step(self.x, self.entering(h, carried), carried, self.units)
            return new[0] if self.cell.carried == "h" else torch.cat(new)

        return jacrev(step)(self.before if self.cell.carried == "h" else torch.cat([self.hidden, self.before]))


def assert_partials_equal_autograd(at: At, partial: Partial, function: Any, state: Tensor) -> None:
    """Every Jacobian is diagonal by gate, with the derived coefficients on it, zero where one was left out."""
    units = at.units.values()
    by_x, by_u, by_state, *by_unit = jacrev(function, argnums=tuple(range(3 + len(units))))(at.x, at.u, state, *units)
    zero = torch.zeros_like(state)
    by_name = dict(zip(at.cell.units, by_unit, strict=True))
    for derived, jacobian, names in (
        (partial.input, by_x, at.cell.gates),
        (partial.recurrent, by_u, at.cell.entered),
        *((partial.units, by_name[name], (name,)) for name in at.cell.units),
    ):
        expected = [torch.diag(derived.get(name, zero)) for name in names]
        torch.testing.assert_close(torch.cat([jacobian[:, :0], *expected], dim=1), jacobian, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(at.carried_map(partial), by_state, rtol=1e-12, atol=1e-15)


def test_update_partials(cell: Cell) -> None:
    at = At(cell)
    partial = at.partial(derive(cell).evaluate_update)
    assert_partials_equal_autograd(at, partial, lambda *given: at.update(*given).apply(given[2])[1], at.before)


def test_hidden_partials(cell: Cell) -> None:
    at = At(cell)
    if derive(cell).hidden is None:
        assert cell.states == ("h",)
        return

    def output(x: Tensor, u: Tensor, after: Tensor, *units: Tensor) -> Tensor:
        return at.update(x, u, at.before, *units).output(after)

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
        update = at.update(at.x, u, before, *at.units.values())
        held = before if update.held is None else update.held
        return tuple(
            torch.as_tensor(f, dtype=u.dtype).expand(HIDDEN)
            for f in (held, update.keep, update.candidate, update.write)
        )

    held, keep, candidate, write = factors(at.u, at.before)
    paths = (CARRY, KEEP_GATE, CANDIDATE, WRITE_GATE)
    others = dict(zip(paths, (keep, held, write, candidate), strict=True))
    by_u, by_state = (dict(zip(paths, jacrev(factors, argnums=i)(at.u, at.before), strict=True)) for i in (0, 1))
    evaluated = {path: at.partial(evaluate) for path, evaluate in derivation.evaluate_paths.items()}
    assert tuple(evaluated) == tuple(path for path in paths if path in evaluated)
    for path, other in others.items():
        through = (
            torch.diag(other)
            @ by_u[path]
            @ jacrev(at.entering, argnums=(0, 1))(at.hidden, at.before)[cell.enters == "diagonal"]
        )
        direct = torch.diag(other) @ by_state[path]
        for expected, derived in ((through, at.recurrent_map), (direct, at.carried_map)):
            found = derived(evaluated[path]) if path in evaluated else torch.zeros_like(expected)
            torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


def test_partials_have_the_shape_and_dtype_of_the_states(cell: Cell) -> None:
    x, before = torch.randn(3, 2, len(cell.gates) * HIDDEN), torch.randn(3, 2, HIDDEN)
    u = torch.randn(3, 2, len(cell.entered) * HIDDEN)
    units = {name: torch.randn(HIDDEN) for name in cell.units}
    after = cell.reference_step(x, u, before, units)[1]
    partial = derive(cell).evaluate_update(cell.split(x), cell.split_recurrent(u), before, after, units)
    tensors = [*partial.recurrent.values(), *partial.input.values(), *partial.units.values()]
    tensors += [] if partial.carried is None else [partial.carried]
    assert {(tensor.shape, tensor.dtype) for tensor in tensors} == {(before.shape, torch.float32)}


def test_derived_once(cell: Cell) -> None:
    assert derive(cell) is derive(cell)
