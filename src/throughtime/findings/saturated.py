"""Saturated: the function of the new state has hardly any slope where it stands, which costs the gradient."""

import math

from throughtime.findings.finding import Finding, Number
from throughtime.findings.measured import Measured
from throughtime.findings.references import HOCHREITER
from throughtime.findings.thresholds import HUNDREDFOLD, MOST_UNITS
from throughtime.findings.wording import signed
from throughtime.notation import ACTIVATION_SLOPE

VERDICT = "saturated"

REMEDIES = (
    "Bring what it reads to mean 0 and variance 1, an embedding by smaller rows: what drives the units into saturation "
    "usually comes in with it.",
    "Start with smaller weight_ih and biases of 0, so that the units begin where their slope is 1.",
    "Normalise the pre-activations (layer normalisation), so that they stay there.",
)


def finding(measured: Measured) -> Finding | None:
    """The slopes alone take a hundredfold of the gradient, on its way back or where it enters the candidate."""
    if not measured.arrives or not math.isnan(measured.of_candidate("dead_units")):
        # A ReLU that is off does not saturate: it is dead, or it comes back.
        return None
    return _on_the_way(measured) or _on_entering(measured)


def _on_the_way(measured: Measured) -> Finding | None:
    """In a cell without gates, where every step is multiplied by the slopes."""
    lost, part = measured.nats.get(ACTIVATION_SLOPE, 0.0), measured.of_candidate("saturation")
    if not (measured.vanishes and lost <= -HUNDREDFOLD and part >= MOST_UNITS):
        return None
    evidence = (
        f"The slopes of the units alone change the gradient by {signed(lost, 3)} nats over {measured.lags[-1]} steps; "
        f"{part:.0%} of the units, over steps and samples, stand where less than 36 % of their slope is left."
    )
    numbers = (
        Number("nats of activation slope", lost, "nats", threshold=-HUNDREDFOLD),
        Number("saturation", part, threshold=MOST_UNITS),
    )
    severity = 3 if measured.nats and lost == min(measured.nats.values()) else 2
    return Finding(
        VERDICT, measured.name, severity, evidence, REMEDIES, HOCHREITER, numbers, measured.nats, measured.cause_steps
    )


def _on_entering(measured: Measured) -> Finding | None:
    """In a gated cell, whose state may be kept while nothing new can be learned to be written."""
    slope = measured.of_candidate("gate_slope")
    if ACTIVATION_SLOPE in measured.nats or not slope <= math.exp(-HUNDREDFOLD):
        return None
    evidence = (
        f"The candidate {measured.candidate} is saturated: of a gradient that reaches it, its slopes leave {slope:.2g} "
        "(root mean square over units, steps and samples), so its weights learn next to nothing at any lag."
    )
    numbers = (Number("gate_slope", slope, threshold=math.exp(-HUNDREDFOLD)),)
    return Finding(VERDICT, measured.name, 2, evidence, REMEDIES, HOCHREITER, numbers)
