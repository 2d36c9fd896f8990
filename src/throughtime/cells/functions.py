"""The element-wise functions a cell's equations are written in.

Each runs on a tensor (the reference step) and on a SymPy expression (the derivation) alike. A slope is computed from
the pre-activation, not from the activation, so that it keeps its relative precision deep in saturation, where
1 - tanh(a)^2 has long been rounded to 0.
"""

import math
from collections.abc import Callable
from typing import Any

import sympy
import torch
from torch import Tensor


def _also_of_numbers(
    of_tensors: Callable[[Tensor], Tensor], of_numbers: Callable[[float], float]
) -> Callable[[Any], Any]:
    return lambda a: of_tensors(a) if isinstance(a, Tensor) else of_numbers(a)


# What stands for the sign of a tensor's numbers: printed as it is, SymPy's own would ask whether it is 0.
SIGN = type("sign_of", (sympy.Function,), {})
# What a printed name runs as, for `sympy.lambdify`: of SymPy's own in derivatives of powers and of |a|, and of the
# functions below.
IN_DERIVATIVES: dict[str, Callable[[Any], Any]] = {
    "sign_of": torch.sign,
    "log": _also_of_numbers(torch.log, math.log),
    "sqrt": _also_of_numbers(torch.sqrt, math.sqrt),
    "exp": _also_of_numbers(torch.exp, math.exp),
}
ON_TENSORS: dict[str, Callable[[Tensor], Tensor]] = {}
# How far from 0 the steepest place of a function is looked for.
STEEP_WITHIN = 8.0
# Places of the grid at which a function may have a kink, where its slope is a matter of choice.
KINKS = 8


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

    Raises:
        TypeError: `value` or `slope` is no function.
        ValueError: `slope` is not the derivative of `value`. Where that has none, as a step function, whose slope is
            taken for another one's, nothing can be compared.
    """

    _check_slope(name, value, slope)

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


def _check_slope(name: str, value: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]) -> None:
    """The slope against autograd's derivative, on a grid, but for the few places where there may be a kink."""
    for what, function in (("value", value), ("slope", slope)):
        if not callable(function):
            raise TypeError(f"{what}: expected a function of tensors for {name!r}, found {type(function).__name__}")
    a = _grid().requires_grad_()
    try:
        with torch.enable_grad():
            values = value(a)
        expected = torch.autograd.grad(values.sum(), a)[0] if values.requires_grad else torch.zeros_like(a)
        found = slope(a.detach()).expand_as(expected)
    except RuntimeError:
        # What does not run on tensors is told where it is to.
        return
    if not expected.any():
        return
    apart = ~torch.isclose(found, expected, rtol=1e-4, atol=1e-6, equal_nan=True)
    if apart.sum() > KINKS:
        at = int(apart.nonzero()[0])
        stated, derived, place = (float(one.detach()[at]) for one in (found, expected, a))
        raise ValueError(
            f"slope: that of {name!r} at {place:.4g} is {stated:.4g}, and the derivative of its value {derived:.4g}"
        )


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
