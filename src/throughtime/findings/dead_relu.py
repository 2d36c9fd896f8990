"""Dead ReLU: most units of a layer are silent whatever comes in, and pass no gradient."""

from throughtime.findings.finding import Finding, Number
from throughtime.findings.measured import Measured
from throughtime.findings.references import LU
from throughtime.findings.thresholds import MOST_UNITS

VERDICT = "dead ReLU"

REMEDIES = (
    "Start again with biases of 0 or a little above: a dead unit gets no gradient, so training cannot wake it.",
    "Take a smaller learning rate, or clip the gradient: one step too far is what kills units that were alive.",
    "Give the function a slope below 0 (leaky ReLU, ELU), so that a silent unit can still learn.",
)


def finding(measured: Measured) -> Finding | None:
    """At least half of the units give exactly 0 with a slope of exactly 0 at every step of every sample."""
    dead = measured.of_candidate("dead_units")
    if not dead >= MOST_UNITS:
        return None
    units = int(measured.measures.attrs["hidden_size"])
    evidence = (
        f"{round(dead * units)} of {units} units are 0 at every step of every sample, with a slope of 0: no gradient "
        "passes through them."
    )
    numbers = (Number("dead_units", dead, threshold=MOST_UNITS),)
    return Finding(
        VERDICT,
        measured.name,
        3 if dead == 1 else 2,
        evidence,
        REMEDIES,
        LU,
        numbers,
        measured.nats,
        measured.cause_steps,
    )
