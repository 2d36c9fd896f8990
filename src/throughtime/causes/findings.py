"""Verdicts: what the measures of one recurrence mean, and what to do about it."""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from throughtime.notation import ACTIVATION_SLOPE, CARRY, CAUSE, ENTERING, LAG, STATE, WEIGHTS, WINDOW

# In nats. What is smaller than float32's epsilon, 2^-23, against the gradient of the present step is lost when the two
# are added: a gradient that falls this far over the sequence has vanished at its far end (IEEE 754).
VANISHED = math.log(2.0**-23)
# In nats. A gradient that grows a hundredfold over the sequence turns a usual step of the optimiser into a jump, and
# its clipping into a loss of all shorter lags (Pascanu, Mikolov, Bengio 2013, section 3).
EXPLODED = math.log(100)
# The part of dL/dW that must come from within the window that is called the reach.
REACH = 0.99


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
HOCHREITER = "Hochreiter, Bengio, Frasconi, Schmidhuber 2001, Gradient flow in recurrent nets"

VANILLA_REMEDIES = (
    "Use a gated layer (tt.Gated, GRU or LSTM): its keep gate lets the gradient pass without a product with the weights.",
    "Start from an orthogonal weight_hh, so that the weights neither shrink nor stretch the gradient.",
    "With ReLU, start from the identity (Le, Jaitly, Hinton 2015); it removes the slopes, not the weights.",
)
GATED_REMEDIES = (
    "Open the keep gate: start its bias at ln(lag) for the lags that matter (chrono initialisation; Tallec, Ollivier 2018).",
    "Check that the data asks for longer lags at all: a trained gate closes where forgetting pays.",
)
EXPLODING_REMEDIES = (
    "Clip the norm of the gradient (torch.nn.utils.clip_grad_norm_).",
    "Shrink weight_hh towards an orthogonal matrix.",
)


def findings(name: str, measures: xr.Dataset, causes: xr.Dataset) -> tuple[Finding, ...]:
    """The verdict on one recurrence: vanishing, exploding or healthy, with the evidence.

    Args:
        name: Of the recurrence.
        measures: Its measures.
        causes: Its causes.
    """
    carried = measures.attrs["carried"]
    rate = float(measures["decay_rate"].sel({STATE: carried}))
    change = rate * measures.attrs["steps"]
    evidence = " ".join([_learns_from(measures), _decays(carried, rate), _because(causes)]).strip()
    vanilla = ACTIVATION_SLOPE in causes[CAUSE].values
    if change >= EXPLODED:
        return (Finding("exploding", name, 2, evidence, EXPLODING_REMEDIES, PASCANU),)
    if change <= VANISHED or not np.isfinite(rate):
        return (Finding("vanishing", name, 3, evidence, VANILLA_REMEDIES if vanilla else GATED_REMEDIES, HOCHREITER),)
    return (Finding("healthy", name, 0, evidence),)


def _learns_from(measures: xr.Dataset) -> str:
    error = measures["truncation_error"]
    within = error.values <= 1 - REACH
    # The first window from which on all windows are good enough.
    beyond = np.flatnonzero(~within)
    first = int(error[WINDOW].values[min(beyond[-1] + 1 if beyond.size else 0, error.size - 1)])
    steps = "step" if first == 1 else f"{first} steps"
    return f"A window of the last {steps} gives dL/dW to within {1 - REACH:.0%}; the sequence has {measures.attrs['steps']}."


def _decays(carried: str, rate: float) -> str:
    if not np.isfinite(rate):
        return f"The derivative with respect to {carried} is exactly zero at every lag above 0."
    if abs(rate) < 1e-12:
        return f"The derivative with respect to {carried} keeps its size."
    way, word = ("halves", "shrinks") if rate < 0 else ("doubles", "grows")
    return (
        f"The derivative with respect to {carried} {word} by {abs(rate):.2g} nats per step: "
        f"it {way} every {math.log(2) / abs(rate):.3g} steps."
    )


def _because(causes: xr.Dataset) -> str:
    by_lag = causes["nats_by_lag"]
    nats = by_lag.where(np.isfinite(by_lag)).mean(LAG)
    parts = {str(cause): float(nats.sel({CAUSE: cause})) for cause in by_lag[CAUSE].values if cause != ENTERING}
    parts = {cause: value for cause, value in parts.items() if np.isfinite(value)}
    if not parts:
        return ""
    words = {ACTIVATION_SLOPE: "saturation", WEIGHTS: "the weights", CARRY: "the keep gate's carry"}
    told = [f"{words.get(cause, f'the {cause} path')} {value:+.2g}" for cause, value in parts.items()]
    return f"Per step, in nats: {', '.join(told)}."
