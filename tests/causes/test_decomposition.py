"""Causes with known answers. That they add up on whole models is tested with the models."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt


def last(output, _):
    return output[0][-1].sum()


def zero_weights(layer):
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer.double()


def causes(layer, steps=12, batch=3):
    inputs = torch.zeros(steps, batch, layer.input_size, dtype=torch.float64)
    return tt.examine(layer, inputs, loss=last).causes("l0")


def test_saturation_and_weights_of_a_vanilla_cell():
    """One unit that sits at a fixed pre-activation a: slope 1 / cosh(a)^2, weight w."""
    layer = zero_weights(nn.RNN(1, 1))
    w, a = 1.5, 0.7
    with torch.no_grad():
        layer.weight_hh_l0.fill_(w)
        layer.bias_hh_l0.fill_(a - w * math.tanh(a))
        initial = torch.full((1, 3, 1), math.tanh(a), dtype=torch.float64)
    inputs = torch.zeros(12, 3, 1, dtype=torch.float64)
    found = tt.examine(layer, (inputs, initial), loss=last).causes("l0")
    np.testing.assert_allclose(found.nats.sel(cause="activation slope"), -2 * math.log(math.cosh(a)), rtol=1e-9)
    np.testing.assert_allclose(found.nats.sel(cause="weights"), math.log(w), rtol=1e-9)
    np.testing.assert_allclose(found.nats.sel(cause="entering"), 0, atol=1e-12)
    np.testing.assert_allclose(found.share.sel(path="candidate"), 1, rtol=1e-12)


@pytest.mark.parametrize("forget_bias", [0.0, 1.0, 5.0])
def test_the_carry_of_an_lstm_without_recurrent_weights(forget_bias):
    """dc_t/dc_{t-1} = sigmoid(b_f), all of it carried."""
    layer = zero_weights(nn.LSTM(2, 3))
    with torch.no_grad():
        layer.bias_ih_l0[3:6] = forget_bias
    found = causes(layer)
    carry = -math.log1p(math.exp(-forget_bias))
    np.testing.assert_allclose(found.nats.sel(cause="carry"), carry, rtol=1e-12)
    np.testing.assert_allclose(found.share.sel(path="carry"), 1, rtol=1e-12)
    for path in ("keep gate", "candidate", "write gate", "output gate"):
        np.testing.assert_allclose(found.nats.sel(cause=path), 0, atol=1e-15)


@pytest.mark.parametrize("weight", [0.5, 2.0, 3.0])
def test_a_gru_unit_at_rest(weight):
    """At h = 0 with zero biases dh'/dh = 1/2 + w_hn / 4: the carry is 1/2, the candidate w_hn / 4."""
    layer = zero_weights(nn.GRU(1, 1))
    with torch.no_grad():
        layer.weight_hh_l0[2] = weight
    found = causes(layer)
    total = 0.5 + weight / 4
    np.testing.assert_allclose(found.share.sel(path="carry"), 0.5 / total, rtol=1e-12)
    np.testing.assert_allclose(found.share.sel(path="candidate"), weight / 4 / total, rtol=1e-12)
    np.testing.assert_allclose(found.nats.sum("cause"), math.log(total), atol=1e-12)
    # A perfect carry is the state of comparison, so losing half of it costs, and the candidate's path earns.
    assert (found.nats.sel(cause="carry") < 0).all() and (found.nats.sel(cause="candidate") > 0).all()


def test_gains_of_a_path_multiply_to_its_part():
    layer = nn.GRU(2, 4).double()
    torch.manual_seed(0)
    exam = tt.examine(layer, torch.randn(8, 1, 2, dtype=torch.float64), loss=lambda o, _: o[0].square().sum((1, 2)))
    # The first step starts from h = 0, and its keep gate has no effect.
    found = exam.causes("l0").sel(path="keep gate", loss_step=8, state_step=slice(2, None))
    gain = found.gain.sum("factor")
    assert np.isfinite(gain).all()
    assert (found.gain.sel(factor="activation slope") < 0).all()


def test_only_some_sources_are_followed_of_many():
    layer = nn.RNN(1, 2).double()
    exam = tt.examine(layer, torch.randn(90, 1, 1, dtype=torch.float64), loss=lambda o, _: o[0].sum((1, 2)))
    found = exam.causes("l0")
    assert len(found.loss_step) == 64 and int(found.loss_step[-1]) == 90
    assert np.isfinite(found.nats_by_lag).all()
