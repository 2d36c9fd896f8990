"""Forward memory: how much a change of the input moves the hidden state some steps later."""

import math
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint import Pushforward
from throughtime.cells import Cell
from throughtime.measures.fewer_directions import fewer_directions
from throughtime.unroll import Trajectory, Weights

# How many steps are followed at most, and in how many samples.
LARGEST_STEPS, LARGEST_SAMPLES = 256, 2
# Inputs with more features than this are changed in so many random directions, at right angles to one another.
DIRECTIONS = 8


def forward_memory(cell: Cell, weights: Weights, trajectory: Trajectory) -> Float[Tensor, " lag"]:
    """ln of the root mean square over samples of |dh_{i+k}/dx_i|, Frobenius norm, in nats; k = 0, 1, ...

    What the sweep follows backwards from a loss is followed forwards from an input, the first of the steps that are
    looked at: dh_t/dx_i is dh_t/ds_t J_t ... J_{i+1} ds_i/dx_i. Of an input with more than DIRECTIONS features, the
    norm is estimated without bias from random directions, since E |A v|^2 = |A|^2 / features for v of length 1.

    Args:
        cell: The equations.
        weights: Their weights.
        trajectory: Where the derivatives are taken, at its last steps.
    """
    read = trajectory.last(LARGEST_STEPS, LARGEST_SAMPLES)
    pushes, changes = Pushforward(cell, weights, read), fewer_directions(read.inputs, DIRECTIONS)
    hidden, tiny = read.states["h"].shape[-1], torch.finfo(pushes.dtype).tiny
    moved = pushes.input(1, changes)
    norms, sizes = [torch.linalg.vector_norm(moved[:, :hidden], dim=(1, 2))], []
    for push in islice(pushes, 1, None):
        sizes.append(moved.abs().amax((1, 2)).clamp(min=tiny))
        moved = push(moved / sizes[-1][:, None, None])
        norms.append(torch.linalg.vector_norm(moved[:, :hidden], dim=(1, 2)))
    ln_norm = torch.stack(norms).double().log()
    if sizes:
        ln_norm[1:] += torch.stack(sizes).double().log().cumsum(0)
    return (torch.logsumexp(2 * ln_norm, dim=1) - math.log(pushes.batch)) / 2
