"""Vanishing: what lies far back does not reach the weights."""

from throughtime.findings.finding import Finding
from throughtime.findings.measured import Measured
from throughtime.findings.rates import compared, rates
from throughtime.findings.references import HOCHREITER
from throughtime.findings.thresholds import ROUNDED_AWAY
from throughtime.findings.wording import because, changed, sentences
from throughtime.notation import ACTIVATION_SLOPE, WHOLE_STEP

VERDICT = "vanishing"

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
LOOP_REMEDIES = (
    "Give the state a way on without a product with weights: h_t = keep * h_{t-1} + write * candidate, or a residual.",
    "Start its recurrent weights from an orthogonal matrix.",
)


def finding(measured: Measured) -> Finding | None:
    """The gradient falls a hundredfold from the present step to the far end, or is exactly zero there."""
    if not measured.arrives:
        return None if measured.has_loss else _nothing(measured)
    if not measured.vanishes:
        return None
    return Finding(
        VERDICT,
        measured.name,
        2 if measured.change > -ROUNDED_AWAY else 3,
        sentences(changed(measured), because(measured), compared(measured), measured.caveat),
        _remedies(measured),
        HOCHREITER,
        (measured.change_number, *rates(measured)),
        measured.nats,
        measured.cause_steps,
    )


def _nothing(measured: Measured) -> Finding:
    nothing = f"The derivative of h with respect to {measured.carried} is exactly zero at every state."
    return Finding(VERDICT, measured.name, 3, sentences(nothing, measured.caveat), GATED_REMEDIES, HOCHREITER)


def _remedies(measured: Measured) -> tuple[str, ...]:
    if ACTIVATION_SLOPE in measured.nats:
        return VANILLA_REMEDIES
    if WHOLE_STEP not in measured.nats:
        return GATED_REMEDIES
    return () if measured.is_input else LOOP_REMEDIES
