"""Numbers and causes in words, as the evidence states them."""

import math
from collections.abc import Iterable

import numpy as np

from throughtime.findings.finding import Number
from throughtime.findings.measured import Measured
from throughtime.findings.thresholds import HUNDREDFOLD, ROUNDED_AWAY
from throughtime.notation import ACTIVATION_SLOPE, WEIGHTS, written_out

# Causes below this part of the largest are left out of the sentence; the numbers have them all.
NEGLIGIBLE = 0.01

WORDS = {ACTIVATION_SLOPE: "saturation", WEIGHTS: "the weights"}


def sentences(*parts: str) -> str:
    """Those that say anything, one after the other."""
    return " ".join(filter(None, parts))


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, the minus a typographic one."""
    return f"{'+' if value >= 0 else ''}{sized(value, digits)}".replace("-", "\N{MINUS SIGN}")


def sized(value: float, digits: int) -> str:
    """A number to some significant digits."""
    return written_out(f"{value:.{digits}g}")


def with_interval(number: Number, digits: int = 3) -> str:
    """A size with its interval, where it has one: "4.7 nats (4.5 to 4.9)"."""
    text = f"{sized(abs(number.value), digits)} {number.unit}".strip()
    if number.low is None or number.high is None or not math.isfinite(number.high - number.low):
        return text
    # Of a fall, how far it falls: an end on the other side of 0 keeps a sign of its own.
    sign = math.copysign(1.0, number.value)
    low, high = sorted((sign * number.low, sign * number.high))
    return f"{text} (95 %: {sized(low, digits)} to {sized(high, digits)})".replace("-", "\N{MINUS SIGN}")


def numbered(numbers: Iterable[int], shown: int = 6) -> str:
    """The first few, and whether there are more: "1, 2, 3, ..."."""
    numbers = list(numbers)
    return ", ".join(map(str, numbers[:shown])) + (", ..." if len(numbers) > shown else "")


def changed(measured: Measured) -> str:
    """What becomes of the gradient from lag to lag, as a sentence."""
    values, lags, carried = measured.profile.values, measured.lags, measured.carried
    if values[-1] == -np.inf:
        first = lags[len(values) - np.argmax(values[::-1] > -np.inf)]
        return f"The derivative with respect to {carried} is exactly zero from lag {first} on."
    change = measured.change
    beyond = ""
    if change <= -ROUNDED_AWAY:
        beyond = f", which is beyond float32's epsilon ({ROUNDED_AWAY:.3g})"
    elif abs(change) >= HUNDREDFOLD:
        beyond = ", more than a hundredfold"
    way = "falls" if change < 0 else "grows"
    size = with_interval(measured.change_number)
    return f"From lag {lags[0]} to lag {lags[-1]} the derivative with respect to {carried} {way} by {size}{beyond}."


def because(measured: Measured) -> str:
    """By what, as a sentence; "" where it is not known."""
    parts, steps = measured.nats, measured.cause_steps
    if not parts or not steps:
        return ""
    told = [
        f"{WORDS.get(cause, cause)} {signed(value / steps)}"
        for cause, value in parts.items()
        if abs(value) >= NEGLIGIBLE * max(map(abs, parts.values()))
    ]
    return f"Per step, in nats: {', '.join(told)}."
