"""The derivatives of a cell, obtained by running its equations on symbols once.

With s the carried state, a cell's step is s' = F(x, u, s) and h' = O(x, u, s'), element-wise in the pre-activations
x.g, u.g of its gates g. In the gated form F = keep * s + write * candidate, and the product rule splits every
derivative of F into the four paths of the step Jacobian:

    carry        keep
    keep gate    s * d keep
    candidate    write * d candidate
    write gate   candidate * d write

The derivative of O at fixed s' is the output gate's path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import SimpleNamespace
from typing import Any

import sympy
from torch import Tensor

from throughtime.cells.cell import Cell, Named
from throughtime.cells.functions import ON_TENSORS
from throughtime.notation import CANDIDATE, CARRY, KEEP_GATE, WRITE_GATE


@dataclass(frozen=True)
class Partial:
    """The element-wise partial derivatives of one vector; what is identically zero is left out.

    As expressions while symbolic, as tensors of the trajectory's shape (..., hidden) once evaluated.

    Args:
        carried: With respect to the state the vector is computed from: s for the update, s' for the output.
        recurrent: By gate, with respect to the recurrent pre-activation u.g.
        input: By gate, with respect to the input pre-activation x.g.
    """

    carried: Any
    recurrent: Mapping[str, Any]
    input: Mapping[str, Any]

    def mapped(self, change: Callable[[Any], Any]) -> Partial:
        """With a function applied to everything that is there."""
        return Partial(
            None if self.carried is None else change(self.carried),
            {gate: change(slope) for gate, slope in self.recurrent.items()},
            {gate: change(slope) for gate, slope in self.input.items()},
        )


class Derivation:
    """The equations of a cell as SymPy expressions, and their derivatives. Use `derive`, which derives a cell once.

    Raises:
        ValueError: The hidden state depends on the old carried state other than through the new one.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.x = {gate: sympy.Symbol(f"x_{gate}", real=True) for gate in cell.gates}
        self.u = {gate: sympy.Symbol(f"u_{gate}", real=True) for gate in cell.gates}
        self.before = sympy.Symbol("before", real=True)
        self.after = sympy.Symbol("after", real=True)
        update = cell.step(SimpleNamespace(**self.x), SimpleNamespace(**self.u), self.before)
        self.keep, self.write, self.candidate = map(sympy.sympify, (update.keep, update.write, update.candidate))
        self.output = None if update.output is None else sympy.sympify(update.output(self.after))
        if self.output is not None and self.output.has(self.before):
            raise ValueError(
                f"cell: the output of {cell!r} depends on the state before the step; write it as a function of the new "
                "carried state, which is the argument of `output`"
            )

    @cached_property
    def update(self) -> Partial:
        """The partial derivatives of the new carried state."""
        return self._partial(self.keep * self.before + self.write * self.candidate, self.before)

    @cached_property
    def hidden(self) -> Partial | None:
        """The partial derivatives of the hidden state at fixed carried state; None where the two are one."""
        return None if self.output is None else self._partial(self.output, self.after)

    @cached_property
    def paths(self) -> dict[str, Partial]:
        """The update's partial derivatives, split into the paths that a cell has. They add up to `update`."""
        carry = Partial(carried=self.keep, recurrent={}, input={})
        split = {CARRY: carry} | {
            path: self._partial(factor, self.before, times=other)
            for path, factor, other in (
                (KEEP_GATE, self.keep, self.before),
                (CANDIDATE, self.candidate, self.write),
                (WRITE_GATE, self.write, self.candidate),
            )
        }
        return {path: partial for path, partial in split.items() if partial.carried != 0 or partial.recurrent}

    @cached_property
    def evaluate_update(self) -> Callable[[Named, Named, Tensor, Tensor], Partial]:
        """`update` on tensors; see `evaluated`."""
        return self.evaluated(self.update)

    @cached_property
    def evaluate_hidden(self) -> Callable[[Named, Named, Tensor, Tensor], Partial]:
        """`hidden` on tensors; see `evaluated`."""
        assert self.hidden is not None, "a cell with one state has no output to derive"
        return self.evaluated(self.hidden)

    @cached_property
    def evaluate_paths(self) -> dict[str, Callable[[Named, Named, Tensor, Tensor], Partial]]:
        """`paths` on tensors, by path; see `evaluated`."""
        return {path: self.evaluated(partial) for path, partial in self.paths.items()}

    def evaluated(self, partial: Partial) -> Callable[[Named, Named, Tensor, Tensor], Partial]:
        """A partial derivative as a function of tensors: x and u by gate, the carried state before and after.

        Subexpressions are shared, so that every activation is computed once.
        """
        names: list[tuple[str, str | None]] = [("carried", None)] if partial.carried != 0 else []
        names += [("recurrent", gate) for gate in partial.recurrent]
        names += [("input", gate) for gate in partial.input]
        expressions = [partial.carried if kind == "carried" else getattr(partial, kind)[gate] for kind, gate in names]
        arguments = [*self.x.values(), *self.u.values(), self.before, self.after]
        function = sympy.lambdify(arguments, expressions, modules=[ON_TENSORS], cse=True)

        def evaluate(x: Named, u: Named, before: Tensor, after: Tensor) -> Partial:
            values = function(*x.values(), *u.values(), before, after)
            parts: dict[str, Any] = {"carried": None, "recurrent": {}, "input": {}}
            for (kind, gate), value in zip(names, values, strict=True):
                tensor = value if isinstance(value, Tensor) else before.new_tensor(float(value)).expand_as(before)
                if gate is None:
                    parts[kind] = tensor
                else:
                    parts[kind][gate] = tensor
            return Partial(**parts)

        return evaluate

    def _partial(self, expression: Any, state: sympy.Symbol, times: Any = 1) -> Partial:
        def nonzero(symbols: Mapping[str, sympy.Symbol]) -> dict[str, Any]:
            slopes = {gate: times * sympy.diff(expression, symbol) for gate, symbol in symbols.items()}
            return {gate: slope for gate, slope in slopes.items() if slope != 0}

        return Partial(times * sympy.diff(expression, state), nonzero(self.u), nonzero(self.x))


@cache
def derive(cell: Cell) -> Derivation:
    """The derivation of a cell, made once for all equal cells."""
    return Derivation(cell)
