"""Saturation: how much of a cell stands where its functions have hardly any slope, so that no gradient passes."""

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.cells import Cell, Named
from throughtime.measures.gates import activations
from throughtime.unroll import Trajectory

# A gate below 0.1 or above 0.9 counts as saturated (Karpathy, Johnson, Li 2016, arXiv:1506.02078, section 4.2). There a
# sigmoid has 4 * 0.1 * 0.9 of its largest slope; tanh has the same part of its own at +-0.8, since
# tanh(a) = 2 sigmoid(2a) - 1. A ReLU is below it exactly where it is dead.
SATURATED_SLOPE = 4 * 0.1 * 0.9


def saturation(cell: Cell, trajectory: Trajectory, units: Named | None = None) -> Float[Tensor, " gate"]:
    """By gate, the part of units, steps and samples whose slope is below SATURATED_SLOPE of the largest.

    A number from 0 to 1. Gates without a function are left out, steps at which a sample rests do not count.

    Args:
        cell: The equations.
        trajectory: Where the gates are looked at, at evenly spread steps of the first samples.
        units: The cell's learned vectors, by name.
    """
    parts = [
        (slope < SATURATED_SLOPE * steepest).double().mean()
        for _, (_, slope, steepest) in activations(cell, trajectory, units)
    ]
    return torch.stack(parts) if parts else torch.zeros(0, dtype=torch.float64)
