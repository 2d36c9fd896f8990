"""The functions of equations for a kernel in Triton, as exact as the device's own exponential and logarithm.

A slope is computed from the pre-activation, so that it keeps its relative precision deep in saturation, and tanh from
e^x - 1, so that it keeps its own near 0. Triton reads annotations as its own types: there are none here.
"""

import triton
import triton.language as tl


@triton.jit
def sigmoid(a):
    """1 / (1 + e^-a)."""
    e = tl.exp(-tl.abs(a))
    return tl.where(a < 0, e, 1.0) / (1.0 + e)


@triton.jit
def sigmoid_slope(a):
    """Its derivative."""
    e = tl.exp(-tl.abs(a))
    return e / ((1.0 + e) * (1.0 + e))


@triton.jit
def tanh(a):
    """From e^(-2|a|) - 1."""
    less = expm1(-2.0 * tl.abs(a))
    negative = less / (2.0 + less)
    return tl.where(a < 0, negative, -negative)


@triton.jit
def tanh_slope(a):
    """Its derivative."""
    e = tl.exp(-2.0 * tl.abs(a))
    return 4.0 * e / ((1.0 + e) * (1.0 + e))


@triton.jit
def relu(a):
    """Of NaN it is NaN."""
    return tl.where(a <= 0, 0.0, a)


@triton.jit
def relu_slope(a):
    """Its derivative, 0 at 0."""
    return tl.where(a > 0, 1.0, 0.0)


@triton.jit
def expm1(a):
    """e^a - 1: near 0, where the difference has nothing left of a, by its series."""
    series = 1.0 + a * (1.0 / 14)
    for number in tl.static_range(13, 1, -1):
        series = 1.0 + a * series * (1.0 / number)
    return tl.where(tl.abs(a) < 0.35, a * series, tl.exp(a) - 1.0)


@triton.jit
def log1p(a):
    """ln(1 + a): where 1 + a is rounded, with what the rounding did to a."""
    sum = 1.0 + a
    return tl.where(sum == 1.0, a, tl.where(a > 1.0, tl.log(sum), tl.log(sum) * (a / (sum - 1.0))))
