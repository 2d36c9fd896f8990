"""The element-wise functions a cell's equations are written in.

Each runs on a tensor (the reference step) and on a SymPy expression (the derivation) alike. A slope is computed from
the pre-activation, not from the activation, so that it keeps its relative precision deep in saturation, where
1 - tanh(a)^2 has long been rounded to 0.
"""

from collections.abc import Callable
from typing import Any

import sympy
import torch
from torch import Tensor

# What a printed name runs as, for `sympy.lambdify`.
ON_TENSORS: dict[str, Callable[[Tensor], Tensor]] = {}
# How far from 0 the steepest place of a function is looked for.
STEEP_WITHIN = 8.0


def elementwise(
    name: str, value: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor], latex: str
) -> Callable[[Any], Any]:
    """A function of one variable for cell equations.

    Args:
        name: Its name.
        value: The function on tensors of any shape.
        slope: Its derivative on tensors, as a function of the same argument.
        latex: How its name is typeset, e.g. r"\\tanh"; the slope is typeset with a prime.

    Returns:
        A callable that takes a tensor or a SymPy expression and returns the same kind.
    """

    def print_latex(of: str) -> Callable[..., str]:
        # SymPy hands a power of a function to the function, as an exponent that goes between its name and its argument.
        def latex(self: Any, printer: Any, exp: str | None = None) -> str:
            power = "" if exp is None else f"^{{{exp}}}"
            return rf"{of}{power}\left({printer._print(self.args[0])}\right)"

        return latex

    # Two functions may bear one name; what runs them must be told apart.
    symbol = f"{name}_{len(ON_TENSORS)}"
    slope_symbol = type(f"{symbol}_slope", (sympy.Function,), {"_latex": print_latex(f"{latex}'")})
    value_symbol = type(
        symbol,
        (sympy.Function,),
        {"_latex": print_latex(latex), "fdiff": lambda self, argindex=1: slope_symbol(self.args[0])},
    )
    ON_TENSORS[symbol] = value
    ON_TENSORS[f"{symbol}_slope"] = slope

    def function(argument: Any) -> Any:
        return value(argument) if isinstance(argument, Tensor) else value_symbol(argument)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{name}, element by element, of a tensor or of a SymPy expression."
    return function


def is_applied(expression: Any) -> bool:
    """Whether a SymPy expression is one of these functions of something."""
    return f"{type(expression).__name__}_slope" in ON_TENSORS


def steepest(applied: Any) -> float:
    """The largest slope of an applied function, on a grid over where such functions have their steepest place."""
    return float(_slopes(applied).max())


def is_flat_somewhere(applied: Any) -> bool:
    """Whether an applied function has a slope of exactly 0 on that grid, and at a value of 0, as a ReLU has."""
    flat = _slopes(applied) == 0
    return bool((flat & (ON_TENSORS[type(applied).__name__](_grid()) == 0)).any())


def _slopes(applied: Any) -> Tensor:
    return ON_TENSORS[f"{type(applied).__name__}_slope"](_grid())


def _grid() -> Tensor:
    return torch.linspace(-STEEP_WITHIN, STEEP_WITHIN, 1601, dtype=torch.float64)


def _tanh_slope(a: Tensor) -> Tensor:
    """1 / cosh(a)^2 = 4 e^(-2|a|) / (1 + e^(-2|a|))^2."""
    decay = torch.exp(-2 * a.abs())
    return 4 * decay / (1 + decay).square()


sigmoid = elementwise("sigmoid", torch.sigmoid, lambda a: torch.sigmoid(a) * torch.sigmoid(-a), r"\sigma")
tanh = elementwise("tanh", torch.tanh, _tanh_slope, r"\tanh")
relu = elementwise("relu", torch.relu, lambda a: (a > 0).to(a.dtype), r"\mathrm{relu}")
