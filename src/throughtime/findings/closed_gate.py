"""Closed gate: a gate lets nothing through, at any step: nothing is kept, nothing is written, or nothing is read."""

import math

import numpy as np

from throughtime.findings import gates_stuck_open
from throughtime.findings.finding import Finding, Number
from throughtime.findings.measured import Measured
from throughtime.findings.references import TALLEC
from throughtime.findings.thresholds import HUNDREDFOLD, MOST_UNITS
from throughtime.notation import KEEP, READ, WRITE

VERDICT = "closed gate"

# A gate that never passes a tenth is closed, as a "left-saturated" one is at a single step (Karpathy, Johnson, Li 2016,
# Visualizing and understanding recurrent networks, section 4.2).
NEVER_A_TENTH = 0.1

KEEP_REMEDIES = (
    "Open the keep gate: start its bias at ln(lag) for the lags that matter (chrono initialisation: Tallec, Ollivier "
    "2018). A forget bias of 1 holds for 3 steps, one of 5 for 149.",
    "Check the sign of the bias: a GRU's z keeps in PyTorch and writes in the paper, so that -5 closes one and opens "
    "the other.",
)
WRITE_REMEDIES = (
    "Open the write gate: start its bias no lower than minus the logarithm of the longest lag that matters.",
    "Where write is 1 - keep, hold the keep bias below ln(steps): a gate that keeps all has nothing to write with.",
)
READ_REMEDIES = (
    "Open the output gate: start its bias at 0 or above.",
    "Where the function of c is flat: let a cell forget whose c has run away, by a lower forget bias or a smaller "
    "write gate; start a c that is dead in a ReLU with inputs above 0.",
)


def finding(measured: Measured) -> Finding | None:
    """The keep gate and the gradient with it, or the write gate, or the output, in most of the units."""
    return next((found for told in (_kept, _written, _read) if (found := told(measured)) is not None), None)


def _kept(measured: Measured) -> Finding | None:
    """Vanishing, and the keep gate is why."""
    if not measured.vanishes:
        return None
    says = "The keep gate never opens: {part:.0%} of the units never keep a tenth of their state, {middle:.2g} at most "
    says += "in the median unit, so that the gradient it carries falls by at least {lost:.3g} nats a step."
    return _closed(measured, KEEP, NEVER_A_TENTH, says, 3, KEEP_REMEDIES)


def _written(measured: Measured) -> Finding | None:
    """What is written in all steps together is not a tenth of a candidate."""
    if gates_stuck_open.finding(measured) is not None:
        return None
    says = "The write gate never opens: {part:.0%} of the units write less than {threshold:.2g} of a candidate at any "
    says += "step, which over all steps is not a tenth of one; the median unit writes {middle:.2g} at most. Nothing of "
    says += "the input is in the state that the gradient reaches."
    return _closed(measured, WRITE, NEVER_A_TENTH / measured.steps, says, 2, WRITE_REMEDIES)


def _read(measured: Measured) -> Finding | None:
    """Less than a hundredth of the gradient of h arrives at c."""
    says = "Nothing of c is read: in {part:.0%} of the units the slope dh/dc is below {threshold:.2g} at every step, "
    says += "{middle:.2g} at most in the median unit, so no more than that of a gradient enters."
    return _closed(measured, READ, math.exp(-HUNDREDFOLD), says, 2, READ_REMEDIES)


def _closed(
    measured: Measured, role: str, threshold: float, says: str, severity: int, remedies: tuple[str, ...]
) -> Finding | None:
    largest = measured.gate_range(role, "high")
    if largest is None or not measured.arrives:
        return None
    part = float(np.mean(largest < threshold))
    if not part >= MOST_UNITS:
        return None
    middle = float(np.median(largest))
    lost = -math.log(middle) if middle > 0 else math.inf
    numbers = (
        Number(f"units whose {role} gate never opens", part, threshold=MOST_UNITS),
        Number(f"gate_range of {role} at most in the median unit", middle, threshold=threshold),
    )
    evidence = says.format(part=part, middle=middle, lost=lost, threshold=threshold)
    return Finding(
        VERDICT, measured.name, severity, evidence, remedies, TALLEC, numbers, measured.nats, measured.cause_steps
    )
