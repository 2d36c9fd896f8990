"""The truncation bias: a scalar linear network, and naive autograd through windows cut at every step."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime.measures import reach

STEPS = 70


class Linear(tt.Cell):
    """h_t = x_t + W h_{t-1}."""

    gates = ("h",)

    def step(self, x, u, h):
        return tt.Update(keep=0, write=1, candidate=x.h + u.h)


def test_the_bias_of_a_window_is_a_power_and_so_is_the_window_that_suffices(in_parts):
    """w^K of dL/dW_ih, with w = .9, and no other weight: .9^43 is .0108, .9^44 .0097."""
    layer = tt.Recurrent(Linear, 1, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        layer.weight_hh_l0.fill_(0.9)
        layer.weight_ih_l0.fill_(1e-12)
    inputs = torch.ones(400, 2, 1, dtype=torch.float64)
    in_parts(lags=93)
    dataset = tt.examine(layer, inputs, loss=lambda output, _: output[0][-1].sum())["l0"]
    windows = dataset.window[dataset.window <= 100]
    assert {1, 2, 4, 8, 16, 32, 64} <= set(windows.values.tolist())
    np.testing.assert_allclose(dataset.truncation_error.sel(window=windows), 0.9 ** windows.astype(float), rtol=1e-9)
    window = dataset.attrs["recommended_window"]
    assert window == min(k for k in dataset.window.values.tolist() if k >= math.log(0.01) / math.log(0.9))
    assert dataset.attrs["recommended_window_error"] == pytest.approx(0.9**window, rel=1e-9)


def naive_gradient(module, inputs, window):
    """.grad of all weights where every loss is followed back through its last `window` steps alone."""
    total = [torch.zeros_like(parameter) for parameter in module.parameters()]
    outputs, _ = module(inputs)
    for step in range(1, STEPS + 1):
        first = max(0, step - window)
        before = outputs[first - 1].detach().unsqueeze(0) if first else None
        loss = module(inputs[first:step], before)[0][-1].square().sum()
        total = [a + b for a, b in zip(total, torch.autograd.grad(loss, list(module.parameters())), strict=True)]
    return torch.cat([one.flatten() for one in total])


@pytest.mark.parametrize("banded", [False, True])
def test_exact_at_every_window_of_a_logarithmic_grid(banded, in_parts):
    """Banded or not."""
    if banded:
        in_parts(sources=20, derivatives=10_000, lags=39)
    torch.manual_seed(0)
    module, inputs = nn.GRU(2, 3).double(), torch.randn(STEPS, 2, 2, dtype=torch.float64)
    exam = tt.examine(module, inputs, loss=lambda output, _: output[0].square().sum((1, 2)))
    error = exam["l0"].truncation_error
    assert (len(error) < STEPS) == banded
    full = naive_gradient(module, inputs, STEPS)
    for window in (1, 2, 4, 8, 16, 32, 64):
        expected = (naive_gradient(module, inputs, window) - full).norm() / full.norm()
        assert float(error.sel(window=window)) == pytest.approx(float(expected), rel=1e-6), window
    assert exam["l0"].attrs["recommended_window"] == exam.reach(0.99)["l0"]


def test_the_reach_of_an_error_that_rises_again_lies_behind_it():
    assert reach(np.array([1, 2, 3, 4]), np.array([0.005, 0.02, 0.001, 0.0]), 0.01) == 3


def test_the_reach_of_an_unknown_error_is_the_largest_window():
    assert reach(np.array([1, 2, 3]), np.full(3, np.nan), 0.01) == 3
