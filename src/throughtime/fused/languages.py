"""How the languages of kernels write what equations are made of: Python for Numba, and Triton."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


class NotFused(ValueError):
    """A cell cannot become a kernel; the message says why."""


@dataclass(frozen=True)
class Language:
    """How a language writes what equations are made of. In patterns, {0}, {1}, ... stand for the arguments.

    Args:
        name: For people.
        decorator: What stands before a function.
        real: The pattern of a number among variables of the kernel's type.
        constant: The same where there may be numbers only, within a function of `a`.
        whole: Whether whole numbers are written without a decimal point.
        absolute: The pattern of |x|.
        root: That of a square root.
        power: That of any other power but those of small whole exponents; empty where there is none.
        operations: Those of torch's operations; a dot stands for the overloads.
        known: The kernel's own functions that such patterns may call.
    """

    name: str
    decorator: str
    real: str
    constant: str
    whole: bool
    absolute: str
    root: str
    power: str
    operations: Mapping[str, str]
    known: tuple[str, ...]

    def number(self, number: float) -> str:
        """A number in an equation."""
        return self.real.format(self._digits(number))

    def alone(self, number: float) -> str:
        """A number in a function, maybe by itself."""
        return self.constant.format(self._digits(number))

    def raised(self, base: str, exponent: float | str) -> str:
        """A name or something in parentheses, to a power.

        Raises:
            NotFused: The language has no such power.
        """
        if isinstance(exponent, str):
            return self._any_power(base, exponent)
        if exponent < 0:
            return f"{self.number(1)}/{self.raised(base, -exponent)}"
        if exponent == 1:
            return base
        if exponent in (2, 3, 4):
            return f"({'*'.join([base] * int(exponent))})"
        return self.root.format(base) if exponent == 0.5 else self._any_power(base, self.number(exponent))

    def _any_power(self, base: str, exponent: str) -> str:
        if not self.power:
            raise NotFused(f"it raises to the power {exponent}, and {self.name} has roots and small whole powers only")
        return self.power.format(base, exponent)

    def _digits(self, number: float) -> str:
        if not math.isfinite(number):
            return f"float('{number}')"
        is_short = self.whole and float(number).is_integer() and abs(number) < 2**53
        return repr(int(number) if is_short else float(number))


# What both write alike.
_ARITHMETIC = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "rsub": "{1} - {0}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "neg": "-{0}",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "full_like": "{1}",
    "full": "{1}",
    "scalar_tensor": "{0}",
} | dict.fromkeys(("clone", "detach", "alias", "lift_fresh_copy"), "{0}")
# Those that kernels have anyway.
_KNOWN = ("sigmoid", "tanh", "relu")
_ARITHMETIC |= {name: f"{name}({{0}})" for name in _KNOWN}

NUMBA = Language(
    name="Numba",
    decorator="@inlined",
    real="real({0})",
    constant="real({0})",
    whole=True,
    absolute="abs({0})",
    root="{0}**real(0.5)",
    power="{0}**{1}",
    operations=_ARITHMETIC
    | {
        "abs": "abs({0})",
        "reciprocal": "real(1) / {0}",
        "rsqrt": "real(1) / math.sqrt({0})",
        # NaN stays NaN.
        "maximum": "({0} if {0} >= {1} or {0} != {0} else {1})",
        "minimum": "({0} if {0} <= {1} or {0} != {0} else {1})",
        "clamp": "({1} if {0} < {1} else {2} if {0} > {2} else {0})",
        "clamp_min": "({1} if {0} < {1} else {0})",
        "clamp_max": "({1} if {0} > {1} else {0})",
        "sign": "(real(1) if {0} > 0 else real(-1) if {0} < 0 else {0})",
        "where": "({1} if {0} else {2})",
        "logical_and": "({0} and {1})",
        "logical_or": "({0} or {1})",
        "logical_not": "not {0}",
        "_to_copy": "real({0})",
    }
    | {
        name: f"math.{name}({{0}})"
        for name in (
            *("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh"),
            *("asinh", "acosh", "atanh", "erf"),
        )
    },
    known=_KNOWN,
)

TRITON = Language(
    name="Triton",
    decorator="@triton.jit",
    # A number takes the type of what it is added to or multiplied by; by itself it would be of single precision.
    real="{0}",
    constant="tl.full((), {0}, a.dtype)",
    whole=False,
    absolute="tl.abs({0})",
    root="tl.sqrt({0})",
    power="",
    operations=_ARITHMETIC
    | {
        "abs": "tl.abs({0})",
        "reciprocal": "1.0 / {0}",
        "rsqrt": "1.0 / tl.sqrt({0})",
        "maximum": "tl.where(({0} >= {1}) | ({0} != {0}), {0}, {1})",
        "minimum": "tl.where(({0} <= {1}) | ({0} != {0}), {0}, {1})",
        "clamp": "tl.where({0} < {1}, {1}, tl.where({0} > {2}, {2}, {0}))",
        "clamp_min": "tl.where({0} < {1}, {1}, {0})",
        "clamp_max": "tl.where({0} > {1}, {1}, {0})",
        "sign": "tl.where({0} > 0, 1.0, tl.where({0} < 0, -1.0, {0}))",
        "where": "tl.where({0}, {1}, {2})",
        "logical_and": "({0} & {1})",
        "logical_or": "({0} | {1})",
        "logical_not": "({0} == 0)",
        "_to_copy": "{0} + tl.full((), 0, a.dtype)",
        "tan": "tl.sin({0}) / tl.cos({0})",
        "sinh": "(expm1({0}) - expm1(-{0})) / 2",
        "cosh": "(tl.exp({0}) + tl.exp(-{0})) / 2",
        "expm1": "expm1({0})",
        "log1p": "log1p({0})",
    }
    | {name: f"tl.{name}({{0}})" for name in ("exp", "log", "sqrt", "sin", "cos", "erf")},
    known=(*_KNOWN, "expm1", "log1p"),
)
