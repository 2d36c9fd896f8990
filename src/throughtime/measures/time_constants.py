"""Time constants: how long each unit of a gated cell holds what it carries."""

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.cells import Cell, Named
from throughtime.unroll import Trajectory


def time_constants(cell: Cell, trajectory: Trajectory, units: Named | None = None) -> Float[Tensor, " unit"] | None:
    """-1 / mean over steps and samples of ln keep, in steps, for every unit; None for a cell without a keep gate.

    A unit whose keep gate alone acted would hold 1/e of its state after so many steps. Infinite where the gate stays at
    1, negative where what is carried grows, NaN where a keep is negative. An LSTM with zero recurrent weights and a
    forget bias b has -1 / ln sigmoid(b): 3.192 steps at b = 1 (Hochreiter, Schmidhuber 1997, and chrono initialisation:
    Tallec, Ollivier 2018, section 2).

    Args:
        cell: The equations.
        trajectory: Where the gate is looked at; steps at which a sample rests do not count.
        units: The cell's learned vectors, by name.
    """
    found = (_ln_keep(cell, stretch, units) for stretch in trajectory.stretches())
    sums = [ln_keep.sum(0) for ln_keep in found if ln_keep is not None]
    if not sums:
        return None
    count = trajectory.running.sum() if trajectory.running is not None else trajectory.inputs[..., 0].numel()
    # Subtracted from 0, so that a mean of 0 gives infinity, not its negative.
    return 1 / (0 - torch.stack(sums).sum(0) / count)


def _ln_keep(cell: Cell, trajectory: Trajectory, units: Named | None) -> Float[Tensor, "looked_at unit"] | None:
    # In float64, where a gate of 1 - 1e-9 is not yet 1.
    before = trajectory.before(cell.carried).double()
    pre_activations = trajectory.input_pre[:].double(), trajectory.recurrent_pre[:].double()
    keep = cell.update(*pre_activations, before, units).keep
    if not isinstance(keep, Tensor):
        return None
    ln_keep = keep.log().expand_as(before)
    return ln_keep.flatten(0, 1) if trajectory.running is None else ln_keep[trajectory.running]
