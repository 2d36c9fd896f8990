"""What is measured of the states of a recurrence alone, whatever the loss, labelled."""

import math

import numpy as np
import torch

from throughtime.capture import Opened
from throughtime.cells import derive
from throughtime.labelled import Labelled
from throughtime.measures import (
    QUANTILES,
    dead_units,
    forward_memory,
    gate_range,
    gate_slope,
    gate_values,
    lyapunov_spectrum,
    mean_jacobian,
    saturation,
    singular_values,
    time_constants,
)
from throughtime.notation import BOUND, BOUNDS, EXPONENT, GATE, LAG, LAG_GRID, QUANTILE, ROLE, SINGULAR_VALUE, UNIT

# Of so many singular values an examination keeps the logarithms.
LARGEST_VALUES = 16


def of_states(recurrence: Opened, lags: np.ndarray, into: Labelled) -> None:
    """Add all of it.

    Args:
        recurrence: Whose trajectory is looked at.
        lags: Those of its lag profile.
        into: What it is added to.
    """
    _of_gates(recurrence, into)
    _of_lyapunov(recurrence, into)
    _of_products(recurrence, into)
    _of_mean(recurrence, into)
    _of_forward_memory(recurrence, lags, into)


def _of_gates(recurrence: Opened, into: Labelled) -> None:
    looked_at = recurrence.cell, recurrence.trajectory, recurrence.weights.units
    kept = time_constants(*looked_at)
    if kept is not None:
        into.add("time_constant", kept, {UNIT: np.arange(len(kept))}, "steps")
    gates = gate_values(*looked_at)
    if gates.gates:
        names = {GATE: list(gates.gates)}
        into.add("gate_mean", gates.mean, names)
        into.add("gate_quantile", gates.quantiles, {**names, QUANTILE: list(QUANTILES)})
        into.add("saturation", saturation(*looked_at), names)
        # The gate whose function is the candidate's own; "" where the candidate is linear.
        candidate = "".join(derive(recurrence.cell).candidate_gates[:1])
        into.add("gate_slope", gate_slope(*looked_at), names, candidate=candidate)
        dead = dead_units(*looked_at)
        # By all gates, with NaN for those that cannot die, so that one axis serves them all.
        if dead:
            into.add("dead_units", torch.tensor([dead.get(gate, math.nan) for gate in gates.gates]), names)
    ranges = gate_range(*looked_at)
    if ranges:
        axes = {ROLE: list(ranges), BOUND: BOUNDS, UNIT: np.arange(next(iter(ranges.values())).shape[-1])}
        into.add("gate_range", torch.stack(list(ranges.values())), axes)


def _of_lyapunov(recurrence: Opened, into: Labelled) -> None:
    spectrum = lyapunov_spectrum(recurrence.cell, recurrence.weights, recurrence.trajectory)
    numbers = {EXPONENT: np.arange(1, len(spectrum.exponents) + 1)}
    into.add("lyapunov", spectrum.exponents, numbers, "nats per step")
    into.add("lyapunov_error", spectrum.error, numbers, "nats per step")


def _of_products(recurrence: Opened, into: Labelled) -> None:
    found = singular_values(recurrence.cell, recurrence.weights, recurrence.trajectory)
    values = found.ln_values[:, :LARGEST_VALUES]
    lags = {LAG_GRID: found.lags.numpy()}
    numbers = {SINGULAR_VALUE: np.arange(1, values.shape[1] + 1)}
    into.add("singular_values", values, {**lags, **numbers}, "nats")
    into.add("stable_rank", found.stable_rank, lags)


def _of_mean(recurrence: Opened, into: Labelled) -> None:
    found = mean_jacobian(recurrence.cell, recurrence.weights, recurrence.trajectory)
    by_name = {
        "mean_jacobian": found.eigenvalue,
        "non_normality": found.non_normality,
        "drift": found.drift,
        "fluctuation": found.fluctuation,
    }
    for name, value in by_name.items():
        into.add(name, value, {}, "nats per step")


def _of_forward_memory(recurrence: Opened, lags: np.ndarray, into: Labelled) -> None:
    """On the lags of the profile, NaN where it was not followed."""
    found = forward_memory(recurrence.cell, recurrence.weights, recurrence.trajectory).numpy()
    followed = (lags >= 0) & (lags < len(found))
    on_lags = np.full(len(lags), np.nan)
    on_lags[followed] = found[lags[followed]]
    into.add("forward_memory", on_lags, {LAG: lags}, "nats")
