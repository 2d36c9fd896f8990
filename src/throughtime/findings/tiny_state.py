"""Tiny state: the losses would not change were the state gone, since it holds next to nothing."""

import math

from throughtime.findings.finding import Finding, Number
from throughtime.findings.measured import Measured
from throughtime.findings.thresholds import NEXT_TO_NOTHING, ROUNDED_AWAY

VERDICT = "tiny state"

REMEDIES = (
    "Scale the inputs to a size of about 1, and start the weights of the input with about 1 / sqrt(inputs).",
    "Where a gate stands before the candidate, start its bias so that it is open.",
)


def finding(measured: Measured) -> Finding | None:
    """What the state contributes to every loss is rounded away in float32, and the state is why."""
    if not (measured.largest_elasticity < -ROUNDED_AWAY and measured.largest_state < NEXT_TO_NOTHING):
        return None
    norm, part = math.exp(measured.largest_state), math.exp(measured.largest_elasticity)
    evidence = (
        f"Its state holds next to nothing: where a loss reads it, its norm is {norm:.1g} at most. Were it gone, no "
        f"loss would change by more than {part:.1g} of itself, which float32 rounds away."
    )
    numbers = (
        Number("state_norm at most", measured.largest_state, "nats", threshold=NEXT_TO_NOTHING),
        Number("elasticity at most", measured.largest_elasticity, "nats", threshold=-ROUNDED_AWAY),
    )
    return Finding(VERDICT, measured.name, 2, evidence, REMEDIES, "", numbers)
