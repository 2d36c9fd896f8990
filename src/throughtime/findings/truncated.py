"""Truncated: the gradient is cut on its way back, by the model or by the window of its training, and it costs."""

import numpy as np

from throughtime.findings.finding import Finding, Number
from throughtime.findings.measured import Measured
from throughtime.findings.references import WILLIAMS
from throughtime.findings.thresholds import LEFT_OUT
from throughtime.findings.wording import numbered

VERDICT = "truncated"

LONGER = (
    "in windows several times as long as the reach, or in windows that overlap by it, with losses in the rest only: a "
    "loss right behind a cut learns from nothing before it."
)
CUT_REMEDIES = (
    f"Detach less often, {LONGER}",
    "Where the sequence does not fit in memory, keep the graph and use torch.utils.checkpoint instead of a cut.",
)
WINDOW_REMEDIES = (
    f"Train {LONGER}",
    "Carry the state on from window to window, so that at least what is read is not cut.",
    "Where a longer window does not fit in memory, use torch.utils.checkpoint over its steps.",
)


def finding(measured: Measured) -> Finding | None:
    """What is cut off is more than 1 % of the whole gradient."""
    return _cut(measured) or _window(measured)


def _cut(measured: Measured) -> Finding | None:
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
    return Finding(VERDICT, measured.name, 2, evidence, CUT_REMEDIES, WILLIAMS, numbers)


def _window(measured: Measured) -> Finding | None:
    """The window of the training is shorter than what the data needs."""
    attributes = measured.measures.attrs
    error = float(attributes.get("window_error", 0.0))
    if not error > LEFT_OUT:
        return None
    evidence = (
        f"Cut after every {attributes['window']} steps, the gradient is {error:.0%} of the whole one away from it. To "
        f"be within 1 %, every loss would have to reach {measured.reach} steps back."
    )
    numbers = (
        Number("window_error", error, threshold=LEFT_OUT),
        Number("recommended_window", float(measured.reach), "steps"),
    )
    return Finding(VERDICT, measured.name, 2, evidence, WINDOW_REMEDIES, WILLIAMS, numbers)
