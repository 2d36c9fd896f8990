"""Readout-bound: what stands between the recurrence and the loss lets nothing through, or next to nothing."""

import math

from throughtime.findings.finding import Finding, Number
from throughtime.findings.measured import Measured
from throughtime.findings.thresholds import NEXT_TO_NOTHING, ROUNDED_AWAY

VERDICT = "readout-bound"

REMEDIES = ("Look at what stands between the recurrence and the loss: a readout of zeros, a dead ReLU, a mask.",)
TINY_REMEDIES = (
    "Start the readout with weights of about 1 / sqrt(units): one that hardly reads sends hardly anything back, "
    "however well the recurrence would carry it.",
    "Look at what stands between the recurrence and the loss: a saturated softmax or sigmoid, a scale, a mask.",
)


def finding(measured: Measured) -> Finding | None:
    """No gradient arrives at any state, or the losses would not change were there no state."""
    if not measured.has_loss:
        return None
    return _tiny(measured) if measured.arrives else _nothing(measured)


def _nothing(measured: Measured) -> Finding:
    nothing = "No gradient arrives: the derivative of the loss is exactly zero at every state."
    return Finding(VERDICT, measured.name, 3, nothing, REMEDIES)


def _tiny(measured: Measured) -> Finding | None:
    """The direct derivative is so small that float32 rounds away what the state contributes to every loss."""
    largest = measured.largest_elasticity
    # Where the state itself is next to nothing, that is another verdict.
    if not largest < -ROUNDED_AWAY or measured.largest_state < NEXT_TO_NOTHING:
        return None
    part = math.exp(largest)
    evidence = (
        f"The losses hardly depend on it: were its state gone, none would change by more than {part:.1g} of itself, "
        "which float32 rounds away. What arrives is as small, whatever the recurrence does with it."
    )
    number = Number("elasticity and direct_derivative at most", largest, "nats", threshold=-ROUNDED_AWAY)
    return Finding(VERDICT, measured.name, 2, evidence, TINY_REMEDIES, "", (number,))
