"""Verdicts: what the measures of one recurrence mean, and what to do about it."""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from throughtime.notation import ACTIVATION_SLOPE, CAUSE, ENTERING, INPUTS, LAG, STATE, STEP, WEIGHTS

# In nats. A gradient that falls a hundredfold over the sequence leaves its far end less than the 1 % by which a window
# may miss the full gradient. One that grows a hundredfold turns a usual step of the optimiser into a jump, and clipping
# it takes from all shorter lags (Pascanu, Mikolov, Bengio 2013, section 3).
HUNDREDFOLD = math.log(100)
# In nats. What is smaller than float32's epsilon, 2^-23, against the gradient of the present step is lost when the two
# are added (IEEE 754).
ROUNDED_AWAY = -math.log(2.0**-23)
# A cut that leaves out less than the 1 % by which a window may miss the full gradient is no finding.
LEFT_OUT = 0.01
# Causes below this part of the largest are left out of the sentence; the numbers have them all.
NEGLIGIBLE = 0.01


@dataclass(frozen=True)
class Finding:
    """One verdict on one recurrence.

    Args:
        verdict: "vanishing", "exploding", "healthy", ...
        recurrence: The name of the recurrence.
        severity: 0 (nothing to do) to 3 (it cannot learn what lies further back).
        evidence: What was measured, in one or two sentences with numbers.
        remedies: What to try, the most promising first.
        reference: Where this is described.
    """

    verdict: str
    recurrence: str
    severity: int
    evidence: str
    remedies: tuple[str, ...] = ()
    reference: str = ""


PASCANU = "Pascanu, Mikolov, Bengio 2013, On the difficulty of training recurrent neural networks"
WILLIAMS = "Williams, Peng 1990, An efficient gradient-based algorithm for on-line training of recurrent networks"
HOCHREITER = "Hochreiter, Bengio, Frasconi, Schmidhuber 2001, Gradient flow in recurrent nets"

VANILLA_REMEDIES = (
    "Use a gated layer (tt.Gated, GRU or LSTM): its keep gate lets the gradient pass without a product with weights.",
    "Start from an orthogonal weight_hh, so that the weights neither shrink nor stretch the gradient.",
    "With ReLU, start from the identity (Le, Jaitly, Hinton 2015); it removes the slopes, not the weights.",
)
GATED_REMEDIES = (
    "Open the keep gate: start its bias at ln(lag) for the lags that matter (chrono initialisation: Tallec, Ollivier "
    "2018).",
    "Check that the data asks for longer lags at all: a trained gate closes where forgetting pays.",
)
# Where a checkpoint was examined without its code.
WITHOUT_LOSS = "No loss was followed: this is a random direction of h on its way back, not what the weights learn from."
SILENT_REMEDIES = ("Look at what stands between the recurrence and the loss: a readout of zeros, a dead ReLU, a mask.",)
LOOP_REMEDIES = (
    "Give the state a way on without a product with weights: h_t = keep * h_{t-1} + write * candidate, or a residual.",
    "Start its recurrent weights from an orthogonal matrix.",
)
TRUNCATED_REMEDIES = (
    "Detach less often: a window as long as the reach keeps 99 % of the gradient.",
    "Where the sequence does not fit in memory, keep the graph and use torch.utils.checkpoint instead of a cut.",
)
EXPLODING_REMEDIES = (
    "Clip the norm of the gradient (torch.nn.utils.clip_grad_norm_).",
    "Shrink weight_hh towards an orthogonal matrix.",
)


def findings(name: str, measures: xr.Dataset, causes: xr.Dataset) -> tuple[Finding, ...]:
    """The verdict on one recurrence, with the evidence: vanishing, exploding, readout-bound or healthy.

    Args:
        name: Of the recurrence.
        measures: Its measures; without a share of the gradient, no loss was followed, and the evidence says so.
        causes: Its causes.
    """
    without_loss = "" if "gradient_share" in measures else WITHOUT_LOSS
    carried = measures.attrs["carried"]
    profile = measures["lag_profile"].sel({STATE: carried, LAG: slice(0, max(1, measures.attrs["steps"] - 1))})
    values, lags = profile.values, profile[LAG].values
    if not (values > -np.inf).any() and without_loss:
        nothing = f"The derivative of h with respect to {carried} is exactly zero at every state. {without_loss}"
        return (Finding("vanishing", name, 3, nothing, GATED_REMEDIES, HOCHREITER),)
    if not (values > -np.inf).any():
        nothing = "No gradient arrives: the derivative of the loss is exactly zero at every state."
        return (Finding("readout-bound", name, 3, nothing, SILENT_REMEDIES),)
    truncated = _truncated(name, measures)
    evidence = " ".join(filter(None, (_changes(carried, values, lags), _because(causes), without_loss)))
    change = values[-1] - values[0]
    if change >= HUNDREDFOLD:
        return (Finding("exploding", name, 2, evidence, EXPLODING_REMEDIES, PASCANU), *truncated)
    if change <= -HUNDREDFOLD:
        severity = 2 if change > -ROUNDED_AWAY else 3
        return (Finding("vanishing", name, severity, evidence, _remedies(measures, causes), HOCHREITER), *truncated)
    return truncated or (Finding("healthy", name, 0, evidence),)


def _remedies(measures: xr.Dataset, causes: xr.Dataset) -> tuple[str, ...]:
    names = set(causes[CAUSE].values)
    if ACTIVATION_SLOPE in names:
        return VANILLA_REMEDIES
    if STEP not in names:
        return GATED_REMEDIES
    return () if measures.attrs["cell"] == INPUTS else LOOP_REMEDIES


def _truncated(name: str, measures: xr.Dataset) -> tuple[Finding, ...]:
    """What the model's own cuts between steps cost."""
    steps = [int(step) for step in np.atleast_1d(measures.attrs.get("detached", []))]
    error = float(measures.attrs.get("detached_error", 0.0))
    if not steps or not error > LEFT_OUT:
        return ()
    where = ", ".join(map(str, steps[:6])) + (", ..." if len(steps) > 6 else "")
    evidence = (
        f"The model detaches its state after step {where}, so .grad misses what passes there: it is {error:.0%} of the "
        "whole gradient away from it. Everything else that is shown is of the whole gradient."
    )
    return (Finding("truncated", name, 2, evidence, TRUNCATED_REMEDIES, WILLIAMS),)


def _changes(carried: str, values: np.ndarray, lags: np.ndarray) -> str:
    if values[-1] == -np.inf:
        first = lags[len(values) - np.argmax(values[::-1] > -np.inf)]
        return f"The derivative with respect to {carried} is exactly zero from lag {first} on."
    change = values[-1] - values[0]
    beyond = ""
    if change <= -ROUNDED_AWAY:
        beyond = f", which is beyond float32's epsilon ({ROUNDED_AWAY:.3g})"
    elif abs(change) >= HUNDREDFOLD:
        beyond = ", more than a hundredfold"
    way = "falls" if change < 0 else "grows"
    over = f"From lag {lags[0]} to lag {lags[-1]}"
    return f"{over} the derivative with respect to {carried} {way} by {abs(change):.3g} nats{beyond}."


def _because(causes: xr.Dataset) -> str:
    by_lag = causes["nats_by_lag"]
    nats = by_lag.where(np.isfinite(by_lag)).mean(LAG)
    parts = {str(cause): float(nats.sel({CAUSE: cause})) for cause in by_lag[CAUSE].values if cause != ENTERING}
    parts = {cause: value for cause, value in parts.items() if np.isfinite(value)}
    if not parts:
        return ""
    words = {ACTIVATION_SLOPE: "saturation", WEIGHTS: "the weights"}
    told = [
        f"{words.get(cause, cause)} {value:+.2g}".replace("-", "\N{MINUS SIGN}")
        for cause, value in parts.items()
        if abs(value) >= NEGLIGIBLE * max(map(abs, parts.values()))
    ]
    return f"Per step, in nats: {', '.join(told)}."
