"""Readout-bound: what stands between the recurrence and the loss lets nothing through."""

from throughtime.findings.finding import Finding
from throughtime.findings.measured import Measured

VERDICT = "readout-bound"

REMEDIES = ("Look at what stands between the recurrence and the loss: a readout of zeros, a dead ReLU, a mask.",)


def finding(measured: Measured) -> Finding | None:
    """No gradient arrives at any state."""
    if measured.arrives or not measured.has_loss:
        return None
    nothing = "No gradient arrives: the derivative of the loss is exactly zero at every state."
    return Finding(VERDICT, measured.name, 3, nothing, REMEDIES)
