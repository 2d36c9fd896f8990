"""One recurrence over a whole sequence, by whichever executor."""

from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor

from throughtime.cells import Cell, Named
from throughtime.fused.by_kernel import by_kernel
from throughtime.fused.reference import Run, reference


def run(
    cell: Cell,
    sequence: Float[Tensor, "time batch input"],
    weights: Named,
    initial: Named,
    *,
    lengths: Int[Tensor, " batch"] | None = None,
    resets: Bool[Tensor, "time batch"] | None = None,
    reverse: bool = False,
    by: Literal["reference", "fused"],
) -> Run:
    """Run one layer in one direction over a sequence. Differentiable, and so are its derivatives.

    Args:
        cell: The equations.
        sequence: x_1 .. x_T.
        weights: The weights that the cell has, by torch's name without a suffix: `weight_ih`, `bias_ih`, `weight_hh`,
            `bias_hh`, and `weight_{name}` for every name in its `units`. A bias may be left out: it is zero. With a
            `weight_hr`, which no kernel knows, h is the output projected.
        initial: By state name, the state before the first step that is read, (batch, hidden).
        lengths: Number of steps of every sample, 1 .. T; what is padded behind them is not read. None for T.
        resets: Where a step that is read starts from zeros instead of from the state before it. None for nowhere.
        reverse: Whether the sequence is read from its last step (of each sample) to its first. Nothing is flipped:
            step t of `sequence`, `resets` and the result is step t of the sequence.
        by: What `executor` answered.

    Returns:
        The states of all steps, zero past a sample's end, and the last ones.
    """
    runs = by_kernel if by == "fused" else reference
    return runs(cell, sequence, weights, initial, lengths, resets, reverse)
