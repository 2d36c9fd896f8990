"""Step Jacobians: what a single step does to the length of a gradient, whatever the loss."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import Pullback
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
    size = sum(state.shape[-1] for state in trajectory.states.values())
    matrices = max(FEWEST, OPERATIONS // size**3)
    count = min(trajectory.steps, LARGEST_STEPS, matrices)
    samples = min(trajectory.inputs.shape[1], LARGEST_SAMPLES, max(1, matrices // count))
    pullback = Pullback(cell, weights, _first_samples(trajectory, samples))
    steps = torch.linspace(1, trajectory.steps, count, dtype=torch.float64).round().long()
    largest, mean = [], []
    for step in steps.tolist():
        jacobian = step_jacobian(pullback, step)
        largest.append(torch.linalg.matrix_norm(jacobian, 2).double().log())
        # Squares leave the range of float32 sooner than singular values do.
        mean.append((torch.linalg.matrix_norm(jacobian.double()) / size**0.5).log())
    return StepJacobians(steps, torch.stack(largest), torch.stack(mean))


def step_jacobian(pullback: Pullback, step: int) -> Float[Tensor, "batch state previous"]:
    """J = ds_step/ds_{step-1} of every sample, with the states one after the other: h, then c.

    Each row is the pullback of a unit vector. The two states of an LSTM count as independent of each other here, so
    that the adjoint of c_{step-1} ends there and is not passed on to the step before.
    """
    hidden = pullback.trajectory.states["h"][step]
    batch, units = hidden.shape
    rows = _unit_vectors(hidden, units, batch)
    if not pullback.two_states:
        return pullback.previous_hidden(step, {"h": rows}).transpose(0, 1)
    carried = pullback.trajectory.states[pullback.cell.carried][step]
    own = _unit_vectors(carried, carried.shape[-1], batch)
    adjoint = {
        "h": torch.cat([rows, rows.new_zeros(len(own), *rows.shape[1:])]),
        # c_step has an effect on h_step, so the rows of h pass through it.
        pullback.cell.carried: torch.cat([pullback.carried_from_hidden(step, rows), own]),
    }
    to_hidden = pullback.previous_hidden(step, adjoint)
    pullback.previous_carried_(step, adjoint)
    return torch.cat([to_hidden, adjoint[pullback.cell.carried]], dim=-1).transpose(0, 1)


def _unit_vectors(like: Tensor, units: int, batch: int) -> Tensor:
    return torch.eye(units, dtype=like.dtype).unsqueeze(1).expand(units, batch, units)


def _first_samples(trajectory: Trajectory, samples: int) -> Trajectory:
    return replace(
        trajectory,
        inputs=trajectory.inputs[:, :samples],
        input_pre=trajectory.input_pre[:, :samples],
        recurrent_pre=trajectory.recurrent_pre[:, :samples],
        states={name: state[:, :samples] for name, state in trajectory.states.items()},
        running=None if trajectory.running is None else trajectory.running[:, :samples],
    )
