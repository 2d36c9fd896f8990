"""What is measured of the gradient that the losses send back, and of what the weights learn from it, labelled."""

import math

import numpy as np
import torch
from torch import Tensor

from throughtime.findings.thresholds import LEFT_OUT
from throughtime.labelled import Labelled
from throughtime.measures import (
    Film,
    GradientMap,
    SampleGram,
    TotalDerivative,
    direct_derivative,
    elasticity,
    reach,
    signal_to_noise,
    state_norm,
    truncation_interval,
)
from throughtime.measures.truncation import Truncation
from throughtime.notation import BOUND, BOUNDS, LAG, LOSS_STEP, STATE, WINDOW
from throughtime.unroll import Trajectory


def of_readout(
    film: Film,
    gradient_map: GradientMap,
    profile: Tensor,
    total: TotalDerivative,
    trajectory: Trajectory | None,
    losses: Tensor | None,
    into: Labelled,
) -> None:
    """Add what arrives directly, beside what arrives in all, and how much of a loss hangs on the state that it reads.

    Args:
        film: The axes.
        gradient_map: What arrives.
        profile: At lag 0, by state, in nats.
        total: What arrives of all losses together.
        trajectory: Of the recurrence, where its equations are known.
        losses: Of every source, what it is.
        into: What it is added to.
    """
    axes = {STATE: list(film.states), LOSS_STEP: film.loss_steps.numpy()}
    if film.ends is None:
        direct, in_all = direct_derivative(film, gradient_map.result()), total.result()
    else:
        # The only loss reads every sample where that ends, and there nothing has come through time.
        direct = in_all = profile.unsqueeze(-1)
    into.add("direct_derivative", direct, axes, "nats")
    into.add("total_derivative", in_all, axes, "nats")
    if trajectory is not None and losses is not None:
        into.add("elasticity", elasticity(film, direct, trajectory, losses), axes)
        into.add("state_norm", state_norm(film, trajectory), axes, "nats")


def of_windows(cut: Truncation, lags: np.ndarray, arrives: bool, into: Labelled) -> None:
    """Add what a window of truncated BPTT leaves of the gradient, and which lags it comes from.

    Args:
        cut: Both, at every window and lag.
        lags: Those of the lag profile.
        arrives: Whether any gradient does.
        into: What it is added to.
    """
    into.add("truncation_error", cut.error, {WINDOW: cut.windows.numpy()})
    into.add("gradient_share", _share(cut, lags), {LAG: lags})
    into.attributes |= _recommended(cut) if arrives else {"recommended_window": 0, "recommended_window_error": math.nan}


def of_samples(
    film: Film, gram: SampleGram | None, cut: Truncation, lags: np.ndarray, seed: int, into: Labelled
) -> None:
    """Add what the samples agree on: NaN where there is one, or where what each of them adds is not known.

    Args:
        film: The axes.
        gram: The scalar products of what the samples add to the gradient.
        cut: The error of truncation, by window.
        lags: Those of the lag profile.
        seed: Of the bootstrap.
        into: What it is added to.
    """
    interval = torch.full((len(cut.windows), 2), math.nan, dtype=torch.float64)
    by_lag = torch.full((len(lags),), math.nan, dtype=torch.float64)
    if gram is not None:
        # Where lags were left out, the largest window leaves out just these.
        beyond = float(cut.error[-1]) if film.cut else 0.0
        losses = film.looking_back(cut.windows) if film.some else None
        interval = truncation_interval(gram, cut.windows, cut.error, seed, film.followed, losses, beyond)
        distance = torch.from_numpy(lags).abs()
        # The initial state has no weight term.
        there = distance < int(film.positions.max())
        by_lag[there] = signal_to_noise(gram)[gram.octaves.of(distance[there])]
    into.add("truncation_error_interval", interval, {WINDOW: cut.windows.numpy(), BOUND: BOUNDS})
    into.add("signal_to_noise", by_lag, {LAG: lags})


def _recommended(cut: Truncation) -> dict[str, object]:
    """The BPTT window that suffices for all but 1 % of the gradient, in steps, and the error that it makes."""
    window = reach(cut.windows.numpy(), cut.error.numpy(), LEFT_OUT)
    return {"recommended_window": window, "recommended_window_error": float(cut.error[cut.windows == window])}


def _share(cut: Truncation, lags: np.ndarray) -> Tensor:
    # The initial state has no weight term, so its lag has no part, unless there is nothing to have a part of.
    share = torch.full((len(lags),), math.nan if cut.share.isnan().all() else 0.0, dtype=torch.float64)
    # Of the lags below 0, the profile has only those at which anything arrived; of others, those that any loss looks
    # back to. A band may be spread further.
    first, last = int(lags[0]), int(lags[-1])
    arrived = cut.lags >= first
    return share.index_add_(0, cut.lags[arrived].clamp(max=last) - first, cut.share[arrived])
