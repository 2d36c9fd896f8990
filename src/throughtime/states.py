"""What is measured of the states of a recurrence alone, whatever the loss, labelled."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from throughtime.capture import Opened
from throughtime.cells import derive
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
from throughtime.notation import BOUND, EXPONENT, GATE, LAG, LAG_GRID, QUANTILE, ROLE, SINGULAR_VALUE, UNIT

# Of so many singular values an examination keeps the logarithms.
LARGEST_VALUES = 16


def of_states(recurrence: Opened, lags: np.ndarray) -> dict[str, xr.DataArray]:
    """All of it, by name.

    Args:
        recurrence: Whose trajectory is looked at.
        lags: Those of its lag profile.
    """
    return {
        **_of_gates(recurrence),
        **_of_lyapunov(recurrence),
        **_of_products(recurrence),
        **_of_mean(recurrence),
        "forward_memory": _forward_memory(recurrence, lags),
    }


def _of_gates(recurrence: Opened) -> dict[str, xr.DataArray]:
    looked_at = recurrence.cell, recurrence.trajectory, recurrence.weights.units
    found = {}
    kept = time_constants(*looked_at)
    if kept is not None:
        found["time_constant"] = _labelled(kept, {UNIT: np.arange(len(kept))}, "steps")
    gates = gate_values(*looked_at)
    if gates.gates:
        names = {GATE: list(gates.gates)}
        found["gate_mean"] = _labelled(gates.mean, names)
        found["gate_quantile"] = _labelled(gates.quantiles, {**names, QUANTILE: list(QUANTILES)})
        found["saturation"] = _labelled(saturation(*looked_at), names)
        found["gate_slope"] = _labelled(gate_slope(*looked_at), names)
        # The gate whose function is the candidate's own; "" where the candidate is linear.
        found["gate_slope"].attrs["candidate"] = "".join(derive(recurrence.cell).candidate_gates[:1])
        dead = dead_units(*looked_at)
        # By all gates, with NaN for those that cannot die, so that one axis serves them all.
        if dead:
            found["dead_units"] = _labelled(torch.tensor([dead.get(gate, math.nan) for gate in gates.gates]), names)
    ranges = gate_range(*looked_at)
    if ranges:
        axes = {ROLE: list(ranges), BOUND: ["low", "high"], UNIT: np.arange(next(iter(ranges.values())).shape[-1])}
        found["gate_range"] = _labelled(torch.stack(list(ranges.values())), axes)
    return found


def _of_lyapunov(recurrence: Opened) -> dict[str, xr.DataArray]:
    spectrum = lyapunov_spectrum(recurrence.cell, recurrence.weights, recurrence.trajectory)
    numbers = {EXPONENT: np.arange(1, len(spectrum.exponents) + 1)}
    return {
        "lyapunov": _labelled(spectrum.exponents, numbers, "nats per step"),
        "lyapunov_error": _labelled(spectrum.error, numbers, "nats per step"),
    }


def _of_products(recurrence: Opened) -> dict[str, xr.DataArray]:
    found = singular_values(recurrence.cell, recurrence.weights, recurrence.trajectory)
    values = found.ln_values[:, :LARGEST_VALUES]
    lags = {LAG_GRID: found.lags.numpy()}
    numbers = {SINGULAR_VALUE: np.arange(1, values.shape[1] + 1)}
    return {
        "singular_values": _labelled(values, {**lags, **numbers}, "nats"),
        "stable_rank": _labelled(found.stable_rank, lags),
    }


def _of_mean(recurrence: Opened) -> dict[str, xr.DataArray]:
    found = mean_jacobian(recurrence.cell, recurrence.weights, recurrence.trajectory)
    by_name = {
        "mean_jacobian": found.eigenvalue,
        "non_normality": found.non_normality,
        "drift": found.drift,
        "fluctuation": found.fluctuation,
    }
    return {name: xr.DataArray(value, attrs={"units": "nats per step"}) for name, value in by_name.items()}


def _forward_memory(recurrence: Opened, lags: np.ndarray) -> xr.DataArray:
    """On the lags of the profile, NaN where it was not followed."""
    found = forward_memory(recurrence.cell, recurrence.weights, recurrence.trajectory).numpy()
    followed = (lags >= 0) & (lags < len(found))
    on_lags = np.full(len(lags), np.nan)
    on_lags[followed] = found[lags[followed]]
    return xr.DataArray(on_lags, {LAG: lags}, (LAG,), attrs={"units": "nats"})


def _labelled(values: Tensor, axes: Mapping[str, Any], units: str | None = None) -> xr.DataArray:
    attributes = {} if units is None else {"units": units}
    return xr.DataArray(values.detach().cpu().numpy(), axes, tuple(axes), attrs=attributes)
