"""A scalar linear network, h_t = w h_{t-1} + x_t, for which every measure is known in closed form."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt

W, STEPS = 0.9, 300


class Linear(tt.Cell):
    """h_t = x_t + W h_{t-1}."""

    gates = ("h",)

    def step(self, x, u, h):
        return tt.Update(keep=0, write=1, candidate=x.h + u.h)


class OnlyTheLast(nn.Module):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self.recurrence = tt.Recurrent(Linear, 1, 1, bias=False, dtype=torch.float64)
        nn.init.constant_(self.recurrence.weight_hh_l0, weight)
        nn.init.ones_(self.recurrence.weight_ih_l0)

    def forward(self, inputs):
        return self.recurrence(inputs)[0]


def examination(weight=W, steps=STEPS, batch=2, loss=lambda output, _: output.sum((1, 2)), **keywords):
    return tt.examine(OnlyTheLast(weight), torch.ones(steps, batch, 1, dtype=torch.float64), loss=loss, **keywords)


@pytest.fixture(scope="module")
def exam():
    return examination()


def test_gradient_map(exam):
    """Fact 1: dh_t/dh_k = w^(t-k)."""
    lag = exam["recurrence.l0"].loss_step - exam["recurrence.l0"].state_step
    expected = (lag * math.log(W)).where(lag >= 0, -np.inf).values
    np.testing.assert_allclose(exam["recurrence.l0"].gradient_map.sel(state="h"), expected, rtol=0, atol=1e-12)


def test_lag_profile_and_decay_rate(exam):
    dataset = exam["recurrence.l0"].sel(state="h")
    np.testing.assert_allclose(dataset.lag_profile, dataset.lag * math.log(W), rtol=0, atol=1e-12)
    assert float(dataset.decay_rate) == pytest.approx(math.log(W), rel=1e-12)
    # The samples are equal, so the interval has no width.
    np.testing.assert_allclose(dataset.lag_profile_interval.sel(bound="low"), dataset.lag_profile, atol=1e-12)
    np.testing.assert_allclose(dataset.decay_rate_interval, math.log(W), rtol=1e-12)


def test_truncation_of_a_constant_input():
    """Fact 16: truncated to K steps, the gradient of the last loss misses w^K of itself, but for a finite T."""
    exam = examination(loss=lambda output, _: output[-1].sum(), steps=250)
    error = exam["recurrence.l0"].truncation_error
    weight_ih = exam.weight_terms("recurrence.l0", "weight_ih").norm_by_lag
    np.testing.assert_allclose(weight_ih, 2 * W ** weight_ih.lag.values.astype(float), rtol=1e-12)
    assert float(error.sel(window=10)) == pytest.approx(0.3487, abs=5e-4)
    assert float(error.sel(window=44)) == pytest.approx(0.0097, abs=5e-4)
    assert exam.reach(0.99) == {"recurrence.l0": 44}


def test_share_by_lag_of_a_single_weight_kind():
    exam = examination(loss=lambda output, _: output[-1].sum(), steps=100)
    share = exam["recurrence.l0"].gradient_share
    assert float(share.sum()) == pytest.approx(1, abs=1e-12)
    assert (np.diff(share.values[:100]) < 0).all()


def test_banded_lags_agree_with_single_ones(in_parts):
    whole = examination(steps=120)
    in_parts(sources=7, lags=37)
    banded = examination(steps=120)
    assert len(banded.weight_terms("recurrence.l0", "weight_hh").lag) < 120
    few, many = banded["recurrence.l0"].truncation_error, whole["recurrence.l0"].truncation_error
    np.testing.assert_allclose(few, many.sel(window=few.window), rtol=1e-9, atol=1e-14)
    for weight in ("weight_hh", "weight_ih"):
        one, other = (exam.weight_terms("recurrence.l0", weight).norm_by_lag for exam in (banded, whole))
        np.testing.assert_allclose(one, other.sel(lag=one.lag), rtol=1e-9)
    assert float(banded["recurrence.l0"].gradient_share.sum()) == pytest.approx(1, abs=1e-12)


def test_the_interval_covers_a_difference_between_samples():
    inputs = torch.linspace(-3, 3, 24, dtype=torch.float64).reshape(1, 24, 1).expand(30, 24, 1)
    model = nn.RNN(1, 1, dtype=torch.float64)
    dataset = tt.examine(model, inputs, loss=lambda output, _: output[0].sum((1, 2)))["l0"].sel(state="h")
    low, high = dataset.lag_profile_interval.sel(bound="low"), dataset.lag_profile_interval.sel(bound="high")
    assert (low < dataset.lag_profile)[1:].all() and (dataset.lag_profile < high)[1:].all()
    assert dataset.decay_rate_interval[0] < dataset.decay_rate < dataset.decay_rate_interval[1]
