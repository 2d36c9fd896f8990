"""The distribution of the gates: between which values each of them moves."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.cells import Cell, Named, derive
from throughtime.unroll import Trajectory

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
# Evenly spread steps, and samples: more of them no longer change the picture.
LARGEST_STEPS, LARGEST_SAMPLES = 32, 4


@dataclass(frozen=True)
class GateValues:
    """What a gate's function made of its pre-activation, over units, steps and samples; a number without unit.

    Args:
        gates: The gates that have a function, in torch's order.
        mean: Of every gate.
        quantiles: Of every gate, at QUANTILES.
    """

    gates: tuple[str, ...]
    mean: Float[Tensor, " gate"]
    quantiles: Float[Tensor, "gate quantile"]


def gate_values(cell: Cell, trajectory: Trajectory, units: Named | None = None) -> GateValues:
    """The distribution of the values of every gate; steps at which a sample rests do not count.

    A GRU's r, z between 0 and 1 and its candidate n between -1 and 1; an RNN's only "gate" is its new state. A gate
    that enters the equations without a function, as in a linear cell, is left out.

    Args:
        cell: The equations.
        trajectory: Where the gates are looked at, at evenly spread steps of the first samples.
        units: The cell's learned vectors, by name.
    """
    values = {gate: value.double().numpy() for gate, (value, _, _) in activations(cell, trajectory, units)}
    mean = np.array([value.mean() for value in values.values()])
    quantiles = np.array([np.quantile(value, QUANTILES) for value in values.values()]).reshape(-1, len(QUANTILES))
    return GateValues(tuple(values), torch.from_numpy(mean), torch.from_numpy(quantiles))


def activations(
    cell: Cell, trajectory: Trajectory, units: Named | None
) -> Iterator[tuple[str, tuple[Tensor, Tensor, float]]]:
    """By gate, its values and its slopes wherever it was looked at, (looked_at,) each, and its steepest slope."""
    steps = torch.linspace(1, trajectory.steps, min(trajectory.steps, LARGEST_STEPS)).round().long()
    seen = trajectory.at(steps, torch.arange(min(trajectory.inputs.shape[1], LARGEST_SAMPLES)))
    x, u, before, after = seen.seen_by(cell)
    for gate, activation in derive(cell).activations.items():
        value, slope = (
            found.expand_as(before)[... if seen.running is None else seen.running].flatten()
            for found in activation.evaluate(x, u, before, after, units)
        )
        yield gate, (value, slope, activation.steepest)
