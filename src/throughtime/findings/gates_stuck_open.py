"""Gates stuck open: the keep gate stays at 1 whatever comes in, so that nothing is ever forgotten."""

import numpy as np

from throughtime.findings.finding import Finding, Number
from throughtime.findings.measured import Measured
from throughtime.findings.references import TALLEC
from throughtime.findings.thresholds import LEFT_OUT, MOST_UNITS
from throughtime.notation import KEEP

VERDICT = "gates stuck open"

REMEDIES = (
    "Start the keep bias at ln(lag), for lags no longer than the sequence (chrono initialisation: Tallec, Ollivier "
    "2018): a gate further open than that has no slope left to learn to close with.",
    "If it was training that opened it, look for a state that runs away: what is never forgotten adds up.",
)


def finding(measured: Measured) -> Finding | None:
    """Most units lose less than 1 % of their state over the whole sequence, even at their smallest keep gate."""
    smallest, largest = measured.gate_range(KEEP, "low"), measured.gate_range(KEEP, "high")
    if smallest is None or largest is None or not measured.arrives:
        return None
    held = smallest**measured.steps
    stuck = (held > 1 - LEFT_OUT) & (largest <= 1)
    part = float(np.mean(stuck))
    if not part >= MOST_UNITS:
        return None
    middle = float(np.median(held))
    slope = float(4 * np.median(smallest * (1 - smallest)))
    evidence = (
        f"The keep gate never closes: {part:.0%} of the units hold more than {1 - LEFT_OUT:.0%} of their state over "
        f"all {measured.steps} steps, whatever comes in, the median unit {middle:.2%}. There a sigmoid has {slope:.1g} "
        "of its slope, so the gate hardly learns to close."
    )
    numbers = (
        Number("units whose keep gate never closes", part, threshold=MOST_UNITS),
        Number("gate_range of keep over all steps in the median unit", middle, threshold=1 - LEFT_OUT),
    )
    return Finding(VERDICT, measured.name, 1, evidence, REMEDIES, TALLEC, numbers, measured.nats, measured.cause_steps)
