"""Vanishing: what lies far back does not reach the weights."""

from throughtime.findings.finding import Finding
from throughtime.findings.measured import Measured
from throughtime.findings.rates import compared, rates
from throughtime.findings.references import HOCHREITER
from throughtime.findings.thresholds import ROUNDED_AWAY
from throughtime.findings.wording import because, changed, sentences
from throughtime.notation import WHOLE_STEP

VERDICT = "vanishing"

USE_GATES = (
    "Use a gated layer (tt.Gated, GRU or LSTM) and start its keep gate open, its bias at ln(lag) for the lags that "
    "matter (throughtime.init.chrono_): its gradient then passes without a product with weights. As torch starts it, "
    "a gate keeps half of the state at every step, which vanishes, too."
)
# By what is kept of the state and what it is multiplied by, the most promising first.
VANILLA_REMEDIES = (
    USE_GATES,
    "With ReLU, start from the identity (Le, Jaitly, Hinton 2015): of active units, slopes and weights are then 1.",
    "Start from an orthogonal weight_hh, so that the weights neither shrink nor stretch the gradient; the slopes "
    "remain.",
)
VECTOR_REMEDIES = (
    "With ReLU, start the recurrent weight of every unit near 1 (Li, Li, Cook, Zhu, Gao 2018).",
    USE_GATES,
)
MADE_REMEDIES = (
    "Start what weight_hh is made of where the step neither shrinks nor stretches: an LRU nearer to the unit circle, "
    "with a smaller weight_nu; an antisymmetric network with a smaller gamma and epsilon.",
    USE_GATES,
)
CONSTANT_REMEDIES = (
    "Keep more at every step: a leaky network with a time constant of as many steps as the lags that matter (a larger "
    "tau, or a smaller dt).",
    USE_GATES,
)
CLOSES = "Check that the data asks for longer lags at all: a trained gate closes where forgetting pays."
GATED_REMEDIES = (
    "Open the keep gate: start its bias at ln(lag) for the lags that matter (chrono initialisation: Tallec, Ollivier "
    "2018; throughtime.init.chrono_).",
    CLOSES,
)
SEVERAL_GATES_REMEDIES = (
    "Start the biases of the gates where most of the state is kept: with lag / (lag + 1) of it, a third is left after "
    "that many steps.",
    CLOSES,
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
    if measured.is_input:
        return ()
    if WHOLE_STEP in measured.nats:
        return LOOP_REMEDIES
    if measured.kept_by in ("nothing", "a constant") and measured.multiplied_by == "made":
        return MADE_REMEDIES
    if measured.kept_by == "nothing":
        return VECTOR_REMEDIES if measured.multiplied_by == "a vector" else VANILLA_REMEDIES
    return {"a constant": CONSTANT_REMEDIES, "gates": SEVERAL_GATES_REMEDIES}.get(measured.kept_by, GATED_REMEDIES)
