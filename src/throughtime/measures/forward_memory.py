"""Forward memory: how much a change of the input moves the hidden state some steps later."""

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint import Pushforward
from throughtime.cells import Cell
from throughtime.unroll import Trajectory, Weights

# Evenly spread steps at which the input is changed, how many steps are followed at most, and in how many samples.
STARTS, LARGEST_STEPS, LARGEST_SAMPLES = 2, 256, 2
# Inputs with more features than this are changed in so many random directions, at right angles to one another.
DIRECTIONS = 8


def forward_memory(cell: Cell, weights: Weights, trajectory: Trajectory) -> Float[Tensor, " lag"]:
    """ln of the root mean square over starts and samples of |dh_t/dx_{t-k}|, Frobenius norm, in nats; k = 0, 1, ...

    What the sweep follows backwards from a loss is followed forwards from an input: dh_t/dx_i is
    dh_t/ds_t J_t ... J_{i+1} ds_i/dx_i. Of an input with more than DIRECTIONS features, the norm is estimated without
    bias from random directions, since E |A v|^2 = |A|^2 / features for v of length 1.

    Args:
        cell: The equations.
        weights: Their weights.
        trajectory: Where the derivatives are taken, at its last steps.
    """
    read = trajectory.last(LARGEST_STEPS, LARGEST_SAMPLES)
    pushes, changes = Pushforward(cell, weights, read), _directions(read.inputs)
    starts = torch.linspace(0, read.steps - 1, min(STARTS, read.steps)).round().long()
    batch, hidden = pushes.batch, read.states["h"].shape[-1]
    moved = changes.new_zeros(batch, read.size, len(starts), changes.shape[1])
    ln_scale = torch.zeros(batch, len(starts), dtype=torch.float64)
    ln_norms = []
    for step, push in enumerate(pushes):
        moved = push(moved.flatten(2)).view_as(moved)
        for index in (starts == step).nonzero().flatten().tolist():
            moved[:, :, index] = pushes.input(step + 1, changes)
        ln_norms.append(torch.linalg.vector_norm(moved[:, :hidden], dim=(1, 3)).double().log() + ln_scale)
        size = moved.abs().amax((1, 3), keepdim=True)
        size = torch.where(size == 0, 1.0, size)
        moved, ln_scale = moved / size, ln_scale + size.double().log()[:, 0, :, 0]
    by_step = torch.stack(ln_norms)
    by_lag = torch.full_like(by_step, torch.nan)
    for index, start in enumerate(starts.tolist()):
        by_lag[: read.steps - start, :, index] = by_step[start:, :, index]
    return _ln_root_mean_square(by_lag.flatten(1))


def _directions(inputs: Float[Tensor, "time batch input"]) -> Float[Tensor, "input direction"]:
    features = inputs.shape[-1]
    if features <= DIRECTIONS:
        return torch.eye(features, dtype=inputs.dtype)
    drawn = torch.randn(features, DIRECTIONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (torch.linalg.qr(drawn)[0] * (features / DIRECTIONS) ** 0.5).to(inputs.dtype)


def _ln_root_mean_square(ln_norm: Float[Tensor, "lag followed"]) -> Float[Tensor, " lag"]:
    """Over those that have a lag; NaN marks the others."""
    followed = ~ln_norm.isnan()
    total = (2 * ln_norm.masked_fill(~followed, -torch.inf)).logsumexp(1)
    return (total - followed.sum(1).double().log()) / 2
