"""Healthy: nothing was found, with the numbers that say so."""

from throughtime.findings.finding import Finding
from throughtime.findings.measured import Measured
from throughtime.findings.rates import compared, rates
from throughtime.findings.wording import because, changed, sentences

VERDICT = "healthy"


def finding(measured: Measured) -> Finding:
    """What is said where no illness was found."""
    evidence = sentences(changed(measured), because(measured), compared(measured), measured.caveat)
    return Finding(
        VERDICT,
        measured.name,
        0,
        evidence,
        numbers=(measured.change_number, *rates(measured)),
        causes=measured.nats,
        cause_steps=measured.cause_steps,
    )
