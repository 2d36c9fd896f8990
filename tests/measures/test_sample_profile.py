"""The lag profile of every sample alone: powers of a weight that differs by sample, and naive autograd."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import naive
import throughtime as tt

STEPS = 7


class Driven(tt.Cell):
    """h_t = h_{t-1} * x_t: the step Jacobian of a sample is its own input."""

    gates = ("keep",)

    def step(self, x, u, h):
        return tt.Update(keep=x.keep, write=0, candidate=0)


@pytest.mark.parametrize("loss_steps", ["all", 3])
def test_every_sample_decays_at_a_rate_of_its_own(loss_steps):
    layer = tt.Recurrent(Driven, 1, 1, bias=False, dtype=torch.float64)
    nn.init.ones_(layer.weight_ih_l0)
    factors = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    inputs = factors.view(1, 3, 1).expand(STEPS, 3, 1)
    start = torch.ones(1, 3, 1, dtype=torch.float64)
    exam = tt.examine(layer, (inputs, start), loss=lambda output, _: output[0].sum((1, 2)), loss_steps=loss_steps)
    profile = exam["l0"].sample_profile
    lags = profile.lag.values
    np.testing.assert_allclose(profile, lags[:, None] * factors.log().numpy(), rtol=0, atol=1e-12)
    together = np.log(np.square(np.exp(profile.values)).mean(1)) / 2
    np.testing.assert_allclose(exam["l0"].lag_profile.sel(state="h"), together, atol=1e-12)


def test_against_autograd():
    torch.manual_seed(0)
    layer, inputs = nn.LSTM(3, 4).double(), torch.randn(STEPS, 2, 3, dtype=torch.float64)
    run = naive.layers(layer, list(inputs.unbind(0)))
    losses = [output.square().sum() for output in run.outputs]
    squares = torch.stack(naive.gradients(losses, run.runs["l0"].carried), 1).square().sum(-1)
    exam = tt.examine(layer, inputs, loss=lambda output, _: output[0].square().sum((1, 2)))
    profile = exam["l0"].sample_profile
    for lag in range(STEPS + 1):
        expected = torch.stack([squares[t - 1, t - lag] for t in range(max(lag, 1), STEPS + 1)]).mean(0).log() / 2
        np.testing.assert_allclose(profile.sel(lag=lag), expected, rtol=1e-9)
    assert not math.isnan(float(profile.sum()))
