"""The slope of the gates: what part of a gradient passes through the function of a gate."""

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.cells import Cell, Named
from throughtime.measures.gates import activations
from throughtime.unroll import Trajectory


def gate_slope(cell: Cell, trajectory: Trajectory, units: Named | None = None) -> Float[Tensor, " gate"]:
    """By gate, the root mean square over units, steps and samples of its slope over the largest it has anywhere.

    A number from 0 to 1: what the function leaves, in norm, of a gradient that is spread over all units alike. Where
    `saturation` counts the units that hardly pass any, this says how little they pass. Gates without a function are
    left out, steps at which a sample rests do not count.

    Args:
        cell: The equations.
        trajectory: Where the gates are looked at, at evenly spread steps of the first samples.
        units: The cell's learned vectors, by name.
    """
    parts = [
        (slope.double() / steepest).square().mean().sqrt()
        for _, (_, slope, steepest) in activations(cell, trajectory, units)
    ]
    return torch.stack(parts) if parts else torch.zeros(0, dtype=torch.float64)
