"""The derivatives of a cell, obtained by running its equations on symbols once.

With s the carried state, a cell's step is s' = F(x, u, s) and h' = O(x, u, s'), element-wise in the pre-activations
x.g, u.g of its gates g. In the gated form F = keep * held + write * candidate, with held = s in most cells, and the
product rule splits every derivative of F into the four paths of the step Jacobian:

    carry        keep * d held
    keep gate    held * d keep
    candidate    write * d candidate
    write gate   candidate * d write

The derivative of O at fixed s' is the output gate's path.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, TypeAlias

import sympy
import torch
from torch import Tensor

from throughtime.cells.cell import ByName, Cell, Named
from throughtime.cells.functions import IN_DERIVATIVES, ON_TENSORS, SIGN, is_applied, is_flat_somewhere, steepest
from throughtime.notation import CANDIDATE, CARRY, KEEP_GATE, OUTPUT_GATE, WRITE_GATE


@dataclass(frozen=True)
class Partial:
    """The element-wise partial derivatives of one vector; what is identically zero is left out.

    As expressions while symbolic, as tensors of the trajectory's shape (..., hidden) once evaluated.

    Args:
        carried: With respect to the state the vector is computed from: s for the update, s' for the output.
        recurrent: By gate, with respect to the recurrent pre-activation u.g.
        input: By gate, with respect to the input pre-activation x.g.
        units: By name, with respect to a learned vector.
    """

    carried: Any
    recurrent: Mapping[str, Any]
    input: Mapping[str, Any]
    units: Mapping[str, Any] = field(default_factory=dict)

    def mapped(self, change: Callable[[Any], Any]) -> Partial:
        """With a function applied to everything that is there."""
        return Partial(
            None if self.carried is None else change(self.carried),
            {gate: change(slope) for gate, slope in self.recurrent.items()},
            {gate: change(slope) for gate, slope in self.input.items()},
            {name: change(slope) for name, slope in self.units.items()},
        )


# From x and u by gate, the carried state before and after, and the units by name, to the derivatives there.
Evaluate: TypeAlias = Callable[..., Partial]


@dataclass(frozen=True)
class Activation:
    """The function that a cell applies to the pre-activation of one gate.

    Args:
        evaluate: Its value and its slope on tensors: arguments as for `Evaluate`.
        steepest: The largest slope that the function has anywhere.
        flat: Whether it is exactly 0 with a slope of exactly 0 somewhere, as a ReLU is.
    """

    evaluate: Callable[..., list[Tensor]]
    steepest: float
    flat: bool


class Derivation:
    """The equations of a cell as SymPy expressions, and their derivatives. Use `derive`, which derives a cell once.

    Raises:
        ValueError: The hidden state depends on the old carried state other than through the new one, or the cell does
            not say what it is as `Cell` asks.
        TypeError: The step calls what reads tensors only, or returns no `Update`.
    """

    def __init__(self, cell: Cell) -> None:
        cell.check_declared()
        self.cell = cell
        self.x = {gate: sympy.Symbol(f"x_{gate}", real=True) for gate in cell.gates}
        self.u = {gate: sympy.Symbol(f"u_{gate}", real=True) for gate in cell.entered}
        self.units = {name: sympy.Symbol(f"units_{name}", real=True) for name in cell.units}
        self.before = sympy.Symbol("before", real=True)
        self.after = sympy.Symbol("after", real=True)
        x, u, units = (ByName(by_name) for by_name in (self.x, self.u, self.units))
        _check_arguments(cell)
        with _read_as_symbols(cell):
            update = cell.run(x, u, self.before, units)
            self.keep, self.write, self.candidate = (
                _expression(name, getattr(update, name), cell) for name in ("keep", "write", "candidate")
            )
            self.held = self.before if update.held is None else _expression("held", update.held, cell)
            self.output = None if update.output is None else _expression("output", update.output(self.after), cell)
        if (self.output is None) != (len(cell.states) == 1):
            raise ValueError(
                f"output: {cell!r} has the states {cell.states}; expected an output= of its update where there are h "
                "and c, and none where there is h alone"
            )
        if not self.new.free_symbols:
            raise ValueError(
                f"step: the new state of {cell!r} depends on nothing; give keep or write another value than 0"
            )
        _check_nothing_changes(cell)
        if self.output is not None and self.output.has(self.before):
            raise ValueError(
                f"cell: the output of {cell!r} depends on the state before the step; write it as a function of the new "
                "carried state, which is the argument of `output`"
            )

    @property
    def new(self) -> Any:
        """The new carried state."""
        return self.keep * self.held + self.write * self.candidate

    @cached_property
    def update(self) -> Partial:
        """The partial derivatives of the new carried state."""
        return self._partial(self.new, self.before)

    @cached_property
    def hidden(self) -> Partial | None:
        """The partial derivatives of the hidden state at fixed carried state; None where the two are one."""
        return None if self.output is None else self._partial(self.output, self.after)

    @cached_property
    def paths(self) -> dict[str, Partial]:
        """The update's partial derivatives, split into the paths that a cell has. They add up to `update`."""
        split = {
            path: self._partial(factor, self.before, times=other)
            for path, factor, other in (
                (CARRY, self.held, self.keep),
                (KEEP_GATE, self.keep, self.held),
                (CANDIDATE, self.candidate, self.write),
                (WRITE_GATE, self.write, self.candidate),
            )
        }
        return {path: partial for path, partial in split.items() if partial.carried != 0 or partial.recurrent}

    @property
    def path_names(self) -> tuple[str, ...]:
        """The paths from state to state: those of the update, and the output gate's where the state opens it."""
        return (*self.paths, *((OUTPUT_GATE,) if self.hidden is not None and self.hidden.recurrent else ()))

    @cached_property
    def evaluate_update(self) -> Evaluate:
        """`update` on tensors; see `evaluated`."""
        return self.evaluated(self.update)

    @cached_property
    def evaluate_hidden(self) -> Evaluate:
        """`hidden` on tensors; see `evaluated`."""
        assert self.hidden is not None, "a cell with one state has no output to derive"
        return self.evaluated(self.hidden)

    @cached_property
    def evaluate_paths(self) -> dict[str, Evaluate]:
        """`paths` on tensors, by path; see `evaluated`."""
        return {path: self.evaluated(partial) for path, partial in self.paths.items()}

    @cached_property
    def activations(self) -> dict[str, Activation]:
        """By gate, the function that its pre-activation is an argument of; without gates that enter as they are."""
        expressions = sympy.Tuple(self.keep, self.write, self.candidate, self.output or 0)
        found: dict[str, Activation] = {}
        for applied in filter(is_applied, sympy.preorder_traversal(expressions)):
            direct = self._direct(applied)
            for gate in self.cell.gates:
                if direct & {self.x[gate], self.u.get(gate)}:
                    found.setdefault(gate, self._activation(applied))
        return {gate: found[gate] for gate in self.cell.gates if gate in found}

    @cached_property
    def candidate_gates(self) -> tuple[str, ...]:
        """The gates whose pre-activation is an argument of the candidate's own function; none of a linear candidate."""
        if not is_applied(self.candidate):
            return ()
        direct = self._direct(self.candidate)
        return tuple(gate for gate in self.cell.gates if direct & {self.x[gate], self.u.get(gate)})

    def evaluated(self, partial: Partial) -> Evaluate:
        """A partial derivative as a function of tensors: x and u by gate, the carried state before and after, units.

        Subexpressions are shared, so that every activation is computed once.
        """
        names: list[tuple[str, str | None]] = [("carried", None)] if partial.carried != 0 else []
        names += [(kind, name) for kind in ("recurrent", "input", "units") for name in getattr(partial, kind)]
        expressions = [partial.carried if kind == "carried" else getattr(partial, kind)[name] for kind, name in names]
        function = self._on_tensors(expressions)

        def evaluate(x: Named, u: Named, before: Tensor, after: Tensor, units: Named | None = None) -> Partial:
            values = function(x, u, before, after, units)
            parts: dict[str, Any] = {"carried": None, "recurrent": {}, "input": {}, "units": {}}
            for (kind, name), value in zip(names, values, strict=True):
                # Not new_full, which refuses a constant beyond the dtype's range; here it becomes inf.
                tensor = value if isinstance(value, Tensor) else before.new_zeros(()) + float(value)
                if name is None:
                    parts[kind] = tensor.expand_as(before)
                else:
                    parts[kind][name] = tensor.expand_as(before)
            return Partial(**parts)

        return evaluate

    def _direct(self, applied: Any) -> set[Any]:
        """The symbols in the argument of an applied function, but not those within functions in it."""
        within = {inner: sympy.Dummy() for inner in applied.args[0].atoms(sympy.Function)}
        return set(applied.args[0].xreplace(within).free_symbols)

    def _activation(self, applied: Any) -> Activation:
        return Activation(self._on_tensors([applied, applied.fdiff()]), steepest(applied), is_flat_somewhere(applied))

    def _on_tensors(self, expressions: list[Any]) -> Callable[..., list[Any]]:
        arguments = [*self.x.values(), *self.u.values(), self.before, self.after, *self.units.values()]
        readable = [sympy.sympify(one).replace(sympy.sign, SIGN) for one in expressions]
        function = sympy.lambdify(arguments, readable, modules=[IN_DERIVATIVES, ON_TENSORS], cse=True)

        def on_tensors(x: Named, u: Named, before: Tensor, after: Tensor, units: Named | None = None) -> list[Any]:
            values: list[Any] = function(*x.values(), *u.values(), before, after, *(units or {}).values())
            return values

        return on_tensors

    def _partial(self, expression: Any, state: sympy.Symbol, times: Any = 1) -> Partial:
        def slope(symbol: sympy.Symbol) -> Any:
            found = times * sympy.diff(expression, symbol)
            if found.has(sympy.Derivative, sympy.Subs, sympy.Mod):
                raise ValueError(
                    f"step: {self.cell!r} has a derivative that is not known, that of {expression}; make a function of "
                    "its own of it by tt.elementwise"
                )
            return found

        def nonzero(symbols: Mapping[str, sympy.Symbol]) -> dict[str, Any]:
            slopes = {name: slope(symbol) for name, symbol in symbols.items()}
            return {name: found for name, found in slopes.items() if found != 0}

        return Partial(slope(state), nonzero(self.u), nonzero(self.x), nonzero(self.units))


@contextmanager
def _read_as_symbols(cell: Cell) -> Iterator[None]:
    """Inside, equations meet symbols; what fails there is told as that."""
    try:
        yield
    except Exception as error:
        if str(error).startswith(("step: ", "keep: ", "write: ", "candidate: ", "held: ", "output: ")):
            raise
        if "truth value" in str(error):
            raise TypeError(
                f"step: {cell!r} branches on a value, and equations are read as symbols, which have none; use tt.relu, "
                "or make the function one of its own by tt.elementwise"
            ) from None
        raise TypeError(
            f"step: {cell!r} cannot be read as symbols ({type(error).__name__}: {error}), as equations are; use "
            "tt.sigmoid, tt.tanh, tt.relu and arithmetic, and tt.elementwise for any other function"
        ) from None


def _check_arguments(cell: Cell) -> None:
    names = ("x", "u", cell.carried, *(("its learned vectors",) if cell.units else ()))
    try:
        inspect.signature(cell.step).bind(*names)
    except TypeError as error:
        raise TypeError(
            f"step: expected {cell!r} to take {len(names)} arguments, {', '.join(names)} ({error})"
        ) from None


def _expression(name: str, value: Any, cell: Cell) -> Any:
    if value is None:
        raise ValueError(f"{name}: expected of {cell!r} a number or an expression, found None")
    return sympy.sympify(int(value) if isinstance(value, bool) else value)


def _check_nothing_changes(cell: Cell) -> None:
    """On tensors, nothing that the step was given may be changed in place: the state before it is needed later."""
    x, u, units = ({name: torch.zeros(1, 1) for name in names} for names in (cell.gates, cell.entered, cell.units))
    state = torch.zeros(1, 1)
    cell.run(ByName(x), ByName(u), state, ByName(units)).apply(state)
    given = {"the carried state": state}
    for kind, by_name in (("x", x), ("u", u), ("units", units)):
        given |= {f"{kind}.{name}": tensor for name, tensor in by_name.items()}
    for name, tensor in given.items():
        if tensor._version:
            raise ValueError(f"step: {cell!r} changes {name} in place; write a = a * b for a *= b")


@cache
def derive(cell: Cell) -> Derivation:
    """The derivation of a cell, made once for all equal cells."""
    return Derivation(cell)
