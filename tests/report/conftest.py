"""Examinations whose every number is known in closed form: a scalar linear network on a constant input.

h_i = w h_{i-1} + 1, h_0 = 0, l_t = h_t. Then delta(t,i) = w^(t-i), the immediate derivative of h_i with respect to w is
h_{i-1}, and the terms of lag k add up to w^k (h_0 + ... + h_{T-k-1}).
"""

import math

import numpy as np
import pytest
import xarray as xr

from throughtime.examination import Examination, Record
from throughtime.findings import Finding, Number

STEPS = 12
# By role and bound: what six units keep and write at least and at most.
UNITS_BETWEEN = [[[0.1, 0, 0.2, 0.4, 0.5, 0.6], [0.7, 0.1, 0.8, 0.9, 0.9, 1]], [[0.0] * 6, [0.5] * 6]]


def linear_examination(
    w=0.5,
    steps=STEPS,
    name="l0",
    reverse=False,
    output=False,
    losses=None,
    tokens=None,
    notes=(),
    evidence="The weights are below 1.",
    remedy="Start from a weight of 1.",
):
    """The examination of the linear network; with `output`, of c_i = w c_{i-1} + 1 and h_i = c_i, as in an LSTM."""
    record = linear_record(w, steps, reverse, output, losses, name)
    severity = 3 if w < 1 else 0
    finding = Finding(
        "vanishing" if severity else "healthy",
        name,
        severity,
        evidence,
        (remedy,),
        "Hochreiter (1991)",
        (Number("change of lag_profile", (steps - 1) * math.log(w), "nats", threshold=math.log(100)),),
        {"weights": (steps - 1) * math.log(w)},
    )
    return Examination({name: record}, (finding,), tokens, notes)


def linear_record(w, steps, reverse, output, losses, name):
    t = np.asarray(losses if losses is not None else np.arange(1, steps + 1))
    i = np.arange(1, steps + 2) if reverse else np.arange(steps + 1)
    distance = (i - t[:, None]) if reverse else (t[:, None] - i)
    carried = np.where(distance >= 0, distance * math.log(w), -np.inf)
    # h_i is read by its own loss and by nothing else: exactly zero everywhere off the diagonal.
    direct = np.where(distance == 0, 0.0, -np.inf)
    maps = np.stack([direct, carried] if output else [carried])
    states = ["h", "c"] if output else ["h"]
    lags = np.arange(steps + 1)
    profile = np.stack([np.where(lags == 0, 0.0, -np.inf), lags * math.log(w)] if output else [lags * math.log(w)])
    terms = terms_by_lag(w, steps)
    measures = xr.Dataset(
        {
            "gradient_map": (("state", "loss_step", "state_step"), maps),
            "sample_map": (("state", "loss_step", "state_step"), maps),
            "lag_profile": (("state", "lag"), profile),
            "lag_profile_interval": (("state", "lag", "bound"), np.full((*profile.shape, 2), np.nan)),
            "decay_rate": (("state",), [-np.inf, math.log(w)] if output else [math.log(w)]),
            "decay_rate_interval": (("state", "bound"), np.full((len(states), 2), np.nan)),
            "truncation_error": (("window",), [abs(terms[k:].sum() / terms.sum()) for k in range(steps + 1)]),
            "gradient_share": (("lag",), terms / terms.sum()),
        },
        {
            "state": states,
            "loss_step": t,
            "state_step": i,
            "lag": lags,
            "bound": ["low", "high"],
            "window": np.arange(steps + 1),
        },
        {
            "name": name,
            "cell": "Linear",
            "hidden_size": 1,
            "input_size": 1,
            "steps": steps,
            "batch": 1,
            "carried": states[-1],
            "direction": "reverse" if reverse else "forward",
            "dtype": "float64",
            "equations": [r"h_t = w h_{t-1} + x_t"],
        },
    )
    norms = {"ln_norm": (("loss_step", "state_step"), np.zeros((1, 1))), "norm_by_lag": (("lag",), np.abs(terms))}
    weight_hh = xr.Dataset(norms, {"lag": lags}, {"relative_error": 3e-16})
    bias_hh = xr.Dataset(norms, {"lag": lags}, {"relative_error": math.nan})
    nats = np.stack([np.zeros(steps), np.full(steps, math.log(w)), np.zeros(steps)])
    causes = xr.Dataset(
        {"nats_by_lag": (("cause", "lag"), nats)},
        {"cause": ["activation slope", "weights", "entering"], "lag": np.arange(steps)},
        {"state": states[-1]},
    )
    return Record(measures, {"weight_hh": weight_hh, "bias_hh": bias_hh}, causes)


def terms_by_lag(w, steps):
    """The weight terms summed by lag, 0 to T."""
    states = [0.0]
    for _ in range(steps):
        states.append(w * states[-1] + 1)
    return np.array([w**k * sum(states[: steps - k]) for k in range(steps + 1)])


@pytest.fixture
def linear():
    return linear_examination


@pytest.fixture
def stacked():
    """stacked(0.5, 0.9): one examination of several layers, l0, l1, ..., each the linear network with a weight."""

    def layers(*weights, **options):
        exams = [linear_examination(w, name=f"l{index}", **options) for index, w in enumerate(weights)]
        records = {exam.recurrences[0]: exam._records[exam.recurrences[0]] for exam in exams}
        return Examination(records, tuple(finding for exam in exams for finding in exam.findings), exams[0].tokens)

    return layers


def without_loss(w=0.5, name="l0", **options):
    """The same network as in a checkpoint: no loss was followed, and its states were looked at instead.

    Its step Jacobian is w, in every sample, and a gate that keeps w has the time constant -1 / ln w.
    """
    exam = linear_examination(w, name=name, **options)
    measures = exam[name].drop_dims("window").drop_vars("gradient_share")
    jacobian = np.full((2, STEPS, 2), math.log(w))
    jacobian[1] -= 1
    measures["step_jacobian"] = xr.DataArray(
        jacobian, {"norm": ["largest", "mean"], "step": np.arange(1, STEPS + 1)}, ("norm", "step", "first_sample")
    )
    times = [-1 / math.log(w), 10.0, 100.0, np.inf, -1.0, np.nan]
    measures["time_constant"] = xr.DataArray(times, dims="unit")
    return Examination({name: Record(measures, {}, exam.causes(name))}, tuple(exam.findings), None, ("No loss.",))


@pytest.fixture
def lossless():
    return without_loss


@pytest.fixture
def everything(linear):
    """The linear network with a loss and all measures that there are.

    The product of k steps is w^k; a change of x_i moves h_t by w^(t-i); the derivatives of all losses that reach a
    state add up to 1 + w + w^2 + ... One gate has the value w and no slope in half of what was looked at.
    """
    exam, ln_w = linear(), math.log(0.5)
    found = exam["l0"]
    for name in ("step_jacobian", "time_constant"):
        found[name] = without_loss()["l0"][name]
    grid, t = np.array([1, 2, 4, 8]), np.arange(1, STEPS + 1)
    total = np.log([sum(0.5**k for k in range(STEPS - step + 1)) for step in t])
    total[1::2] = np.nan  # it is taken at some states only
    error = found["truncation_error"].values
    measured = {
        "forward_memory": (("lag",), found["lag"].values * ln_w),
        "lyapunov": (("exponent",), [ln_w]),
        "lyapunov_error": (("exponent",), [0.01]),
        "singular_values": (("lag_grid", "singular_value"), (grid * ln_w)[:, None]),
        "stable_rank": (("lag_grid",), np.ones(4)),
        "gate_mean": (("gate",), [0.5]),
        "gate_quantile": (("gate", "quantile"), [[0.3, 0.4, 0.5, 0.6, 0.7]]),
        "saturation": (("gate",), [0.5]),
        "gate_slope": (("gate",), [0.25]),
        "dead_units": (("gate",), [0.125]),
        "gate_range": (("role", "bound", "unit"), UNITS_BETWEEN),
        "sample_profile": (("lag", "sample"), found["lag"].values[:, None] * ln_w * [1.0, -1.0]),
        "padding_share": ((), 0.75),
        "signal_to_noise": (("lag",), np.where(found["lag"].values < 4, np.inf, 1.0)),
        "elasticity": (("state", "loss_step"), -t[None].astype(float)),
        "mean_jacobian": ((), ln_w),
        "non_normality": ((), 0.1),
        "drift": ((), -0.2),
        "fluctuation": ((), 0.3),
        "direct_derivative": (("state", "loss_step"), np.zeros((1, STEPS))),
        "total_derivative": (("state", "loss_step"), total[None]),
        "truncation_error_interval": (("window", "bound"), np.stack([0.9 * error, 1.1 * error], axis=-1)),
    }
    axes = {
        "role": ["keep", "write"],
        "bound": ["low", "high"],
        "lag_grid": grid,
        "gate": ["keep"],
        "quantile": [0.05, 0.25, 0.5, 0.75, 0.95],
    }
    for name, (dims, values) in measured.items():
        found[name] = xr.DataArray(values, dims=dims, coords={dim: axes[dim] for dim in dims if dim in axes})
    found.attrs["padded"] = 0.5
    for axis in ("exponent", "singular_value"):
        found.coords[axis] = [1]
    return exam


@pytest.fixture
def two(linear):
    """Two networks, the second with two states, that read the same text."""
    tokens = tuple("the cats saw")
    return {
        "vanishing": linear(0.5, tokens=tokens, notes=("A note.",)),
        "keeping": linear(1.0, output=True, tokens=tokens),
    }
