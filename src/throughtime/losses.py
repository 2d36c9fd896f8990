"""What is measured of the gradient that the losses send back, and of what the weights learn from it, labelled."""

import math

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from throughtime.findings.thresholds import LEFT_OUT
from throughtime.measures import (
    Film,
    GradientMap,
    SampleGram,
    TotalDerivative,
    direct_derivative,
    elasticity,
    reach,
    signal_to_noise,
    truncation_interval,
)
from throughtime.measures.truncation import Truncation
from throughtime.notation import BOUND, LAG, LOSS_STEP, STATE, WINDOW
from throughtime.unroll import Trajectory


def of_readout(film: Film, gradient_map: GradientMap, total: TotalDerivative) -> dict[str, xr.DataArray]:
    """What arrives directly, beside what arrives in all."""
    axes = {STATE: list(film.states), LOSS_STEP: film.loss_steps.numpy()}
    found = {
        "direct_derivative": direct_derivative(film, gradient_map.result()),
        "total_derivative": total.result(),
    }
    return {
        name: xr.DataArray(values.numpy(), axes, tuple(axes), attrs={"units": "nats"}) for name, values in found.items()
    }


def of_elasticity(film: Film, direct: xr.DataArray, trajectory: Trajectory, losses: Tensor) -> xr.DataArray:
    """How much of a loss hangs on the state that it reads."""
    found = elasticity(film, torch.from_numpy(direct.values), trajectory, losses)
    return xr.DataArray(found.numpy(), direct.coords, direct.dims)


def of_windows(cut: Truncation, lags: xr.DataArray) -> dict[str, xr.DataArray]:
    """What a window of truncated BPTT leaves of the gradient, and which lags it comes from.

    Args:
        cut: Both, at every window and lag.
        lags: Those of the lag profile.
    """
    return {
        "truncation_error": xr.DataArray(cut.error.numpy(), {WINDOW: cut.windows.numpy()}, (WINDOW,)),
        "gradient_share": xr.DataArray(_share(cut, lags.values).numpy(), {LAG: lags}, (LAG,)),
    }


def of_samples(
    film: Film, gram: SampleGram | None, error: xr.DataArray, lags: xr.DataArray, seed: int
) -> dict[str, xr.DataArray]:
    """What the samples agree on: NaN where there is one, or where what each of them adds is not known.

    Args:
        film: The axes.
        gram: The scalar products of what the samples add to the gradient.
        error: Of truncation, by window.
        lags: Those of the lag profile.
        seed: Of the bootstrap.
    """
    windows = torch.tensor(error[WINDOW].values)
    interval = torch.full((len(windows), 2), math.nan, dtype=torch.float64)
    by_lag = torch.full((len(lags),), math.nan, dtype=torch.float64)
    # Of the lags that were not followed, what each sample adds is not known.
    if gram is not None and not film.cut:
        interval = truncation_interval(gram, windows, torch.tensor(error.values), seed)
    if gram is not None:
        distance = torch.tensor(lags.values).abs()
        # The initial state has no weight term.
        there = distance < int(film.positions.max())
        by_lag[there] = signal_to_noise(gram)[torch.searchsorted(gram.starts, distance[there], right=True) - 1]
    bounds = {WINDOW: error[WINDOW], BOUND: ["low", "high"]}
    return {
        "truncation_error_interval": xr.DataArray(interval.numpy(), bounds, tuple(bounds)),
        "signal_to_noise": xr.DataArray(by_lag.numpy(), {LAG: lags}, (LAG,)),
    }


def recommended(error: xr.DataArray) -> dict[str, float | int]:
    """The BPTT window that suffices for all but 1 % of the gradient, in steps, and the error that it makes."""
    window = reach(error[WINDOW].values, error.values, LEFT_OUT)
    return {"recommended_window": window, "recommended_window_error": float(error.sel({WINDOW: window}))}


def _share(cut: Truncation, lags: np.ndarray) -> Tensor:
    # The initial state has no weight term, so its lag has no part, unless there is nothing to have a part of.
    share = torch.full((len(lags),), math.nan if cut.share.isnan().all() else 0.0, dtype=torch.float64)
    # Of the lags below 0, the profile has only those at which anything arrived.
    first = int(lags[0])
    arrived = cut.lags >= first
    share[cut.lags[arrived] - first] = cut.share[arrived]
    return share
