"""Truncated: the model cuts its own gradient on the way back, and the cut costs something."""

import numpy as np

from throughtime.findings.finding import Finding, Number
from throughtime.findings.measured import Measured
from throughtime.findings.references import WILLIAMS
from throughtime.findings.thresholds import LEFT_OUT
from throughtime.findings.wording import numbered

VERDICT = "truncated"

REMEDIES = (
    "Detach less often: a window as long as the reach keeps 99 % of the gradient.",
    "Where the sequence does not fit in memory, keep the graph and use torch.utils.checkpoint instead of a cut.",
)


def finding(measured: Measured) -> Finding | None:
    """The model detaches its state between steps, and its `.grad` misses more than 1 % of the whole gradient."""
    steps = [int(step) for step in np.atleast_1d(measured.measures.attrs.get("detached", []))]
    error = float(measured.measures.attrs.get("detached_error", 0.0))
    if not steps or not error > LEFT_OUT:
        return None
    evidence = (
        f"The model detaches its state after step {numbered(steps)}, so .grad misses what passes there: it is "
        f"{error:.0%} of the whole gradient away from it. Everything else that is shown is of the whole gradient."
    )
    numbers = (Number("detached_error", error, threshold=LEFT_OUT),)
    return Finding(VERDICT, measured.name, 2, evidence, REMEDIES, WILLIAMS, numbers)
