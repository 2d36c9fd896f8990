"""The LaTeX of a cell's equations and of the paths of its step Jacobian, from the same expressions as the numbers."""

from typing import Any

import sympy
from sympy.printing.latex import LatexPrinter

from throughtime.cells.cell import Cell
from throughtime.cells.derivation import Derivation, derive
from throughtime.notation import OUTPUT_GATE


class _ElementwisePrinter(LatexPrinter):
    """Writes products of vectors with a circled dot."""

    def _print_Mul(self, expr: Any) -> str:
        number, factors = expr.as_coeff_mul()
        sign = "" if number == 1 else "-" if number == -1 else self._print(number)
        return sign + r" \odot ".join(self._factor(factor) for factor in factors)

    def _print_Pow(self, expr: Any) -> str:
        # SymPy prints a negative power as the product that it is, which would lead here again.
        if expr.exp == -1:
            return rf"\frac{{1}}{{{self._print(expr.base)}}}"
        return super()._print_Pow(expr)

    def _factor(self, factor: Any) -> str:
        latex = self._print(factor)
        # A pre-activation is one symbol, but typeset as the sum it stands for.
        return rf"\left({latex}\right)" if factor.is_Add or (factor.is_Symbol and "+" in latex) else latex


def equations(cell: Cell, projected: bool = False) -> list[str]:
    """One line of LaTeX per equation of the cell's step.

    Args:
        cell: The cell.
        projected: Whether h is not the cell's output itself but W_hr times it.
    """
    derivation = derive(cell)
    state = cell.carried
    lines = [rf"{state}_t = {_print(derivation, derivation.new)}"]
    if derivation.output is not None:
        output = _print(derivation, derivation.output)
        lines.append(rf"h_t = W_{{hr}} \left({output}\right)" if projected else f"h_t = {output}")
    return lines


def path_formulas(cell: Cell) -> dict[str, str]:
    """The LaTeX of each path of the step Jacobian, with a_g for the whole pre-activation of gate g."""
    derivation = derive(cell)
    formulas = {path: _linear_map(derivation, partial) for path, partial in derivation.paths.items()}
    if derivation.hidden is not None:
        output = _print(derivation, derivation.hidden.carried, compact=True)
        if derivation.hidden.recurrent:
            formulas[OUTPUT_GATE] = _linear_map(derivation, derivation.hidden, skip_carried=True)
        formulas["h from c"] = rf"\operatorname{{diag}}\left({output}\right)"
    return formulas


def _linear_map(derivation: Derivation, partial: Any, skip_carried: bool = False) -> str:
    terms = [] if skip_carried or partial.carried == 0 else [_diagonal(derivation, partial.carried)]
    diagonal = derivation.cell.enters == "diagonal"
    weights = {gate: _diagonal_of(_vector(gate)) if diagonal else _weight("h", gate) for gate in partial.recurrent}
    terms += [f"{_diagonal(derivation, slope)} {weights[gate]}" for gate, slope in partial.recurrent.items()]
    return " + ".join(terms)


def _diagonal(derivation: Derivation, expression: Any) -> str:
    return _diagonal_of(_print(derivation, expression, compact=True))


def _diagonal_of(vector: str) -> str:
    return rf"\operatorname{{diag}}\left({vector}\right)"


def _print(derivation: Derivation, expression: Any, compact: bool = False) -> str:
    state = derivation.cell.carried
    names = {derivation.before: f"{state}_{{t-1}}", derivation.after: f"{state}_t"}
    names |= {unit: f"w_{{{_subscript(name)}}}" for name, unit in derivation.units.items()}
    for gate in derivation.cell.gates:
        x, u = derivation.x[gate], derivation.u.get(gate)
        names[x] = f"{_weight('i', gate)} x_t + {_bias('i', gate)}"
        if u is not None and derivation.cell.enters == "dense":
            names[u] = f"{_weight('h', gate)} h_{{t-1}} + {_bias('h', gate)}"
        elif u is not None:
            names[u] = rf"{_vector(gate)} \odot {state}_{{t-1}}"
        if compact:
            whole = sympy.Symbol(f"a_{gate}", real=True)
            names[whole] = f"a_{{{_subscript(gate)}}}"
            expression = expression.xreplace({x if u is None else x + u: whole})
    return _ElementwisePrinter({"symbol_names": names, "order": "none"}).doprint(expression)


def _weight(source: str, gate: str) -> str:
    return f"W_{{{source}{_subscript(gate)}}}"


def _vector(gate: str) -> str:
    return f"w_{{h{_subscript(gate)}}}"


def _bias(source: str, gate: str) -> str:
    return f"b_{{{source}{_subscript(gate)}}}"


def _subscript(gate: str) -> str:
    return gate if len(gate) == 1 else rf"\,\mathrm{{{gate}}}"
