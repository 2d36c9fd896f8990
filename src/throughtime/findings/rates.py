"""Three estimates of the rate at which a gradient changes, side by side, and why they differ where they do.

The slope of the lag profile is what became of this loss over this sequence. The largest Lyapunov exponent is what the
states do to any gradient in the long run. The largest eigenvalue of the mean step Jacobian is what they would do if all
steps were alike: it is the only one that can be read off the weights.
"""

import math

from throughtime.findings.finding import Number
from throughtime.findings.measured import Measured
from throughtime.findings.wording import signed
from throughtime.notation import STANDARD_ERRORS

# A large Gaussian matrix has a largest singular value of twice its spectral radius (Geman 1980; Girko 1985): what is
# less normal than that is called non-normal. In nats.
GAUSSIAN = math.log(2)
# What adds up to less over the sequence, in nats, is no disagreement.
TENFOLD = math.log(10)

PER_STEP = "nats per step"
WORDS = {"decay_rate": "the lag profile", "lyapunov": "the Lyapunov exponent", "mean_jacobian": "the mean step"}


def rates(measured: Measured) -> tuple[Number, ...]:
    """Those that there are and are finite."""
    low, high = measured.decay_rate_interval
    estimates = [Number("decay_rate", measured.decay_rate, PER_STEP, low, high)]
    if "lyapunov" in measured.measures:
        exponent, error = (float(measured.measures[name][0]) for name in ("lyapunov", "lyapunov_error"))
        spread = STANDARD_ERRORS * error
        ends = (None, None) if math.isnan(error) else (exponent - spread, exponent + spread)
        estimates.append(Number("lyapunov", exponent, PER_STEP, *ends))
    if "mean_jacobian" in measured.measures:
        estimates.append(Number("mean_jacobian", float(measured.measures["mean_jacobian"]), PER_STEP))
    return tuple(number for number in estimates if math.isfinite(number.value))


def compared(measured: Measured) -> str:
    """The estimates as a sentence, and a second one where they disagree; "" where there is but one."""
    found = rates(measured)
    if len(found) < 2:
        return ""
    told = ", ".join(f"{signed(number.value, 3)} by {WORDS[number.quantity]}" for number in found)
    sentence = f"In nats per step, {told}."
    lowest, highest = min(found, key=lambda one: one.value), max(found, key=lambda one: one.value)
    apart = highest.value - lowest.value
    if apart <= _tolerance(measured):
        return sentence
    reasons = _reasons(measured)
    if not reasons and apart <= _half_width(lowest) + _half_width(highest):
        return sentence
    return f"{sentence} They differ: {'; '.join(reasons) or 'the sequence is too short to show its long run'}."


def _tolerance(measured: Measured) -> float:
    return TENFOLD / max(1, int(measured.lags[-1]))


def _half_width(number: Number) -> float:
    if number.low is None or number.high is None:
        return 0.0
    width = (number.high - number.low) / 2
    return width if math.isfinite(width) else 0.0


def _reasons(measured: Measured) -> list[str]:
    """Those that are large enough to account for it."""
    tolerance, reasons = _tolerance(measured), []
    # Means of few steps differ by chance, the more so the more the steps do.
    chance = tolerance + measured.of_mean("fluctuation")
    entered, drift = measured.entered / max(1, measured.lags[-1]), measured.of_mean("drift")
    if entered > tolerance:
        joins = "what a layer above, the loss at other steps, or the model between two steps sends back joins it"
        reasons.append(f"{joins} ({signed(entered)} a step)")
    if abs(drift) > chance:
        reasons.append(
            f"it is not stationary, the steps of the second half stretch by {signed(drift)} against the first"
        )
    if measured.of_mean("fluctuation") > tolerance:
        fluctuation = signed(measured.of_mean("fluctuation"))
        reasons.append(f"it is driven by its input, single steps are further than their mean ({fluctuation})")
    if measured.of_mean("non_normality") > GAUSSIAN:
        beyond = signed(measured.of_mean("non_normality"))
        reasons.append(f"it is not normal, one step stretches some direction by {beyond} beyond its eigenvalues")
    # Where the steps themselves change on the way, so does the slope.
    if measured.bend > chance and abs(drift) <= chance:
        bend = signed(measured.bend)
        reasons.append(f"it has several time scales, at the longer half of the lags the slope is {bend} less steep")
    return reasons
