"""Which gate a factor of the gated form is, and what a cell has in its place."""

from dataclasses import dataclass
from typing import Literal

import sympy

from throughtime.cells.cell import Cell
from throughtime.cells.derivation import derive
from throughtime.cells.functions import sigmoid

_SIGMOID = type(sigmoid(sympy.Symbol("a")))


@dataclass(frozen=True)
class Gate:
    """A gate that is the sigmoid of its pre-activation, sign 1, or 1 minus it, sign -1."""

    gate: str
    sign: int


def gate_of(factor: sympy.Expr, cell: Cell) -> Gate | None:
    """The gate that a factor of the gated form is: the sigmoid of its pre-activation, or 1 minus that."""
    derivation, applied = derive(cell), list(factor.atoms(sympy.Function))
    if len(applied) != 1 or not isinstance(applied[0], _SIGMOID):
        return None
    value = applied[0]
    gates = [gate for gate, x in derivation.x.items() if sympy.diff(value.args[0], x) == 1]
    signs = [sign for sign, rest in ((1, factor - value), (-1, factor + value - 1)) if rest == 0]
    return Gate(gates[0], signs[0]) if len(gates) == len(signs) == 1 else None


def kept_by(cell: Cell) -> Literal["nothing", "a constant", "a gate", "gates"]:
    """What stands before the old state: nothing of it is kept, a constant part, or what one gate or several say."""
    keep = derive(cell).keep
    if keep == 0:
        return "nothing"
    if not keep.free_symbols:
        return "a constant"
    return "gates" if gate_of(keep, cell) is None else "a gate"


def multiplied_by(cell: Cell) -> Literal["a matrix", "a vector", "made", "nothing"]:
    """What the state is multiplied by on its way into the gates; "made" where that is computed from other weights."""
    if type(cell).made is not Cell.made:
        return "made"
    return {"dense": "a matrix", "diagonal": "a vector", "none": "nothing"}[cell.enters]  # type: ignore[return-value]
