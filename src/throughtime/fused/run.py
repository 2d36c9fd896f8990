"""One recurrence over a whole sequence, by whichever executor."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from throughtime.cells import Cell, Named
from throughtime.fused.by_kernel import by_kernel
from throughtime.fused.executor import executor
from throughtime.fused.reference import Run, reference


def run(
    cell: Cell,
    input_pre: Float[Tensor, "time batch gates_hidden"],
    weights: Named,
    initial: Named,
    *,
    lengths: Int[Tensor, " batch"] | None = None,
    resets: Bool[Tensor, "time batch"] | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> Run:
    """Run one layer in one direction over a sequence. Differentiable, and so are its derivatives.

    Args:
        cell: The equations.
        input_pre: W_ih x_t + b_ih, the product with the input, for all steps at once.
        weights: The other weights that the cell has, by torch's name without a suffix: `weight_hh`, `bias_hh`, and
            `weight_{name}` for every name in its `units`. A bias may be left out: it is zero.
        initial: By state name, the state before the first step that is read, (batch, hidden).
        lengths: Number of steps of every sample, 1 .. T; what is padded behind them is not read. None for T.
        resets: Where a step that is read starts from zeros instead of from the state before it. None for nowhere.
        reverse: Whether the sequence is read from its last step (of each sample) to its first. Nothing is flipped:
            step t of `input_pre`, `resets` and the result is step t of the sequence.
        backend: "auto", "reference" or "fused"; see `executor`.

    Returns:
        The states of all steps, zero past a sample's end, and the last ones.

    Raises:
        ValueError: `backend` is "fused" and this cannot be fused; the message says why.
    """
    by = by_kernel if executor(cell, input_pre, backend) == "fused" else reference
    return by(cell, input_pre, weights, initial, lengths, resets, reverse)
