"""Dead units: how many of a layer give out exactly nothing, whatever comes in, and can never learn to do otherwise."""

import torch
from torch import Tensor

from throughtime.cells import Cell, Named, derive
from throughtime.unroll import Trajectory


def dead_units(cell: Cell, trajectory: Trajectory, units: Named | None = None) -> dict[str, float]:
    """By gate whose function has a flat part, as a ReLU has, the part of its units that are dead, from 0 to 1.

    A unit is dead where value and slope are exactly 0 at every step of every sample: no gradient passes through it, so
    no step of the optimiser changes its weights (Lu, Shin, Su, Karniadakis 2020, Dying ReLU and initialization). No
    sigmoid and no tanh is counted, however saturated, since their slopes are never 0.

    Args:
        cell: The equations.
        trajectory: Where the units are looked at; steps at which a sample rests do not count.
        units: The cell's learned vectors, by name.
    """
    flat = {gate: activation for gate, activation in derive(cell).activations.items() if activation.flat}
    always: dict[str, list[Tensor]] = {gate: [] for gate in flat}
    for stretch in trajectory.stretches() if flat else ():
        x, u, before, after = stretch.seen_by(cell)
        for gate, activation in flat.items():
            value, slope = (one.expand_as(before) for one in activation.evaluate(x, u, before, after, units))
            silent = (value == 0) & (slope == 0)
            if stretch.running is not None:
                silent = silent | ~stretch.running.unsqueeze(-1)
            always[gate].append(silent.flatten(0, 1).all(0))
    return {gate: float(torch.stack(found).all(0).to(torch.float64).mean()) for gate, found in always.items()}
