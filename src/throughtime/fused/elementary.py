"""The functions of equations for a kernel: a few operations each, which the compiler does for many numbers at once.

All of them stand on e^x for x <= 0, as 2^n (1 + p) with whole n and p = e^r - 1 for the rest |r| <= ln(2)/2, by its
series: e^x - 1 = 2^n p + (2^n - 1) is right near 0 too, where e^x has nothing left of x. Below the smallest normal
number, e^x stays there instead of falling to 0. A function and its slope divide by the same number, so that where both
are needed the compiler divides once: a division takes as long as ten multiplications.

Their values are within 3 units in the last place of the exact ones, their slopes within 5, in float32 and in float64.
"""

import math
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from throughtime.fused.compiling import inlined


@dataclass(frozen=True)
class Precision:
    """A floating-point type.

    Args:
        real: The type.
        whole: The integer type of the same size.
        digits: Bits behind the binary point.
        bias: Of the exponent.
        lowest: Where e^x is about to leave the normal numbers.
        terms: Of the series of e^r - 1, so many that the first one left out is below rounding.
        ln_2: As a sum of a number so short that n times it is exact, and the rest.
    """

    real: Any
    whole: Any
    digits: int
    bias: int
    lowest: float
    terms: int
    ln_2: tuple[float, float]


# The two parts of ln(2) are those of Cephes and of fdlibm.
_SINGLE = Precision(np.float32, np.int32, 23, 127, -87.0, 7, (0.693359375, -2.12194440e-4))
_DOUBLE = Precision(np.float64, np.int64, 52, 1023, -708.0, 13, (6.93147180369123816490e-1, 1.90821492927058770002e-10))


def elementary(of: Precision) -> SimpleNamespace:
    """The functions and their slopes, by name, and `real`, the type itself."""
    exponential, exponential_less_one = _exponentials(of)
    own = partial(inlined, variant=of.real.__name__)
    real, zero, one, two, four = of.real, of.real(0), of.real(1), of.real(2), of.real(4)

    @own
    def sigmoid(a: Any) -> Any:
        e = exponential(-abs(a))
        return (e if a < zero else one) * (one / (one + e))

    @own
    def sigmoid_slope(a: Any) -> Any:
        e = exponential(-abs(a))
        share = one / (one + e)
        return e * share * share

    @own
    def tanh(a: Any) -> Any:
        x = -two * abs(a)
        negative = exponential_less_one(x) * (one / (one + exponential(x)))
        return negative if a < zero else -negative

    @own
    def tanh_slope(a: Any) -> Any:
        e = exponential(-two * abs(a))
        share = one / (one + e)
        return four * e * share * share

    @own
    def relu(a: Any) -> Any:
        # Of NaN it is NaN.
        return zero if a <= zero else a

    @own
    def relu_slope(a: Any) -> Any:
        return one if a > zero else zero

    return SimpleNamespace(
        real=real,
        sigmoid=sigmoid,
        sigmoid_slope=sigmoid_slope,
        tanh=tanh,
        tanh_slope=tanh_slope,
        relu=relu,
        relu_slope=relu_slope,
    )


def _exponentials(of: Precision) -> tuple[Any, Any]:
    """e^x and e^x - 1 for x <= 0."""
    own = partial(inlined, variant=of.real.__name__)
    real, whole, one, lowest = of.real, of.whole, of.real(1), of.real(of.lowest)
    ln_2_short, ln_2_rest, per_ln_2 = real(of.ln_2[0]), real(of.ln_2[1]), real(1 / math.log(2))
    # Adding it rounds to a whole number, which then stands in the last bits.
    rounding = real(1.5 * 2.0**of.digits)
    digits, of_one = whole(of.digits), whole(of.bias << of.digits)
    series = tuple(real(1 / math.factorial(power)) for power in range(of.terms, 1, -1))

    @own
    def parts(x: Any) -> Any:
        # Not max(x, lowest): NaN must stay NaN.
        x = lowest if x < lowest else x
        rounded = x * per_ln_2 + rounding
        n = rounded - rounding
        r = (x - n * ln_2_short) - n * ln_2_rest
        sum_from_square = series[0]
        for coefficient in series[1:]:
            sum_from_square = sum_from_square * r + coefficient
        power = whole((real(rounded).view(whole) << digits) + of_one)
        return r + r * r * sum_from_square, whole(power).view(real)

    @own
    def exponential(x: Any) -> Any:
        p, power = parts(x)
        return power * p + power

    @own
    def exponential_less_one(x: Any) -> Any:
        p, power = parts(x)
        return power * p + (power - one)

    return exponential, exponential_less_one


SINGLE, DOUBLE = elementary(_SINGLE), elementary(_DOUBLE)
