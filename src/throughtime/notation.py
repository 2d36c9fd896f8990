"""The words of the project that become labels: axes of the results, states, and the paths of a step Jacobian.

One axis order holds inside the package: (source, time, batch, hidden). A result's axes carry the names below.
"""

from typing import Any

# Axes of the labelled results.
STATE = "state"  # "h", and "c" for an LSTM
LOSS_STEP = "loss_step"  # t: the step whose loss is followed backwards
STATE_STEP = "state_step"  # i: the state at which its gradient is looked at
LAG = "lag"  # t - i
BOUND = "bound"  # of an interval: the two below
PATH = "path"
CAUSE = "cause"
WINDOW = "window"  # K: lags 0 .. K - 1 are kept, as truncated BPTT with a window of K steps does

NORM = "norm"  # of a step Jacobian: one of the two below
STEP = "step"  # i: the step whose Jacobian ds_i/ds_{i-1} is looked at
SAMPLE = "sample"
FIRST_SAMPLE = "first_sample"  # the few at which what costs more is looked at
UNIT = "unit"
GATE = "gate"
QUANTILE = "quantile"
FACTOR = "factor"  # of a path: the activation slope or the weights
ROLE = "role"  # of a gate in the gated form: one of the three below
EXPONENT = "exponent"  # Lyapunov exponents, the largest is number 1
LAG_GRID = "lag_grid"  # lags at powers of two
SINGULAR_VALUE = "singular_value"  # the largest is number 1

# The bounds of an interval.
BOUNDS = ("low", "high")
# So many standard errors on either side make the 95 % interval of a normal distribution.
STANDARD_ERRORS = 1.96

# The norms of a step Jacobian: the largest singular value, and the root mean square of all of them.
LARGEST, MEAN = "largest", "mean"

# The roles of a gate in the gated form: what stands before the old state, before the candidate, and between the carried
# state and the hidden one.
KEEP, WRITE, READ = "keep", "write", "read"

# The paths of a step Jacobian d s_i / d s_{i-1}, for every cell in the gated form.
CARRY = "carry"
KEEP_GATE = "keep gate"
CANDIDATE = "candidate"
WRITE_GATE = "write gate"
OUTPUT_GATE = "output gate"

# The name under which the input of a model is followed, where there is no state or besides it.
INPUTS = "inputs"

# The causes of a change of ln-norm that are no path of a gated cell.
ACTIVATION_SLOPE = "activation slope"  # saturation
WEIGHTS = "weights"
WHOLE_STEP = "step"  # all of a step whose equations are not known
ENTERING = "entering"  # what joins the adjoint at a state directly, from the loss or from a layer above

# From here on a number is written with a power of ten.
LARGE = 1e6


def written_out(number: str) -> str:
    """A number to some digits, thousands without a power of ten, which is harder to read."""
    return f"{float(number):.0f}" if "e+" in number and abs(float(number)) < LARGE else number


def turned(step: Any, steps: int, reverse: bool) -> Any:
    """The label of a step, or of a state, that is counted in reading order; and the other way round.

    The reverse direction keeps the sequence's own numbering: of T steps, the one that is read first is T.

    Args:
        step: One, or an array or tensor of them.
        steps: T.
        reverse: Whether the sequence is read from its end.
    """
    return steps + 1 - step if reverse else step
