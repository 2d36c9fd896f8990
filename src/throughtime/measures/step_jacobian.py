"""Step Jacobians: what a single step does to the length of a gradient, whatever the loss."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import Pushforward
from throughtime.cells import Cell
from throughtime.unroll import Trajectory, Weights

# More steps and samples no longer change the picture.
LARGEST_STEPS, LARGEST_SAMPLES = 64, 4
# A singular value decomposition takes about n^3 operations: how many of them, and how few matrices at the least.
OPERATIONS, FEWEST = 2**33, 8


@dataclass(frozen=True)
class StepJacobians:
    """The norms of J_i = ds_i/ds_{i-1}, as logarithms, in nats; s is the full state: h, or (h, c).

    Args:
        steps: i, in reading order.
        largest: ln of the largest singular value: the most that the step can lengthen a gradient.
        mean: ln of the root mean square of all singular values, |J|_F / sqrt(n): what becomes of a random direction.
    """

    steps: Int[Tensor, " step"]
    largest: Float[Tensor, "step sample"]
    mean: Float[Tensor, "step sample"]


def step_jacobians(cell: Cell, weights: Weights, trajectory: Trajectory) -> StepJacobians:
    """The norms of the step Jacobians at evenly spread steps, for the first samples.

    At most LARGEST_STEPS steps and LARGEST_SAMPLES samples, fewer where the state is large.

    Args:
        cell: The equations.
        weights: Their weights.
        trajectory: Where the derivatives are taken.
    """
    size = trajectory.size
    matrices = max(FEWEST, OPERATIONS // size**3)
    count = min(trajectory.steps, LARGEST_STEPS, matrices)
    samples = min(trajectory.inputs.shape[1], LARGEST_SAMPLES, max(1, matrices // count))
    steps = torch.linspace(1, trajectory.steps, count, dtype=torch.float64).round().long()
    largest, mean = [], []
    for jacobian in Pushforward(cell, weights, trajectory.at(steps, torch.arange(samples))).jacobians():
        largest.append(torch.linalg.matrix_norm(jacobian, 2).double().log())
        # Squares leave the range of float32 sooner than singular values do.
        mean.append((torch.linalg.matrix_norm(jacobian.double()) / size**0.5).log())
    return StepJacobians(steps, torch.stack(largest), torch.stack(mean))
