"""An examination does not depend on how its work is divided: over threads, chunks of sources, rows held ready."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime.adjoint import AtOnce, Pullback, sweep, under_way

STEPS, BATCH, HIDDEN = 24, 3, 16
NAMES = "recurrence.l0", "recurrence.l1"
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}


class Model(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.recurrence, self.readout = kind(5, HIDDEN, num_layers=2), nn.Linear(HIDDEN, 4)

    def forward(self, inputs):
        return self.readout(self.recurrence(inputs)[0])


def examined(kind, dtype):
    torch.manual_seed(0)
    model, inputs = Model(kind).to(dtype), torch.randn(STEPS, BATCH, 5, dtype=dtype)
    return tt.examine(model, inputs, loss=lambda output, _: output.square().sum((1, 2)))


def assert_same(found, expected, tolerance):
    for name in NAMES:
        for quantity in ("gradient_map", "sample_map", "lag_profile", "truncation_error", "decay_rate"):
            one, other = found[name][quantity], expected[name][quantity]
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance, err_msg=quantity)
        for weight in ("weight_ih", "weight_hh", "bias_ih"):
            one, other = (exam.weight_terms(name, weight).ln_norm for exam in (found, expected))
            # The terms of a step without an input state are zero, or what rounding makes of it.
            np.testing.assert_allclose(one[:, 1:], other[:, 1:], rtol=tolerance, atol=tolerance, err_msg=weight)
        np.testing.assert_allclose(found.causes(name).nats, expected.causes(name).nats, rtol=0, atol=20 * tolerance)
    assert [finding.verdict for finding in found.findings] == [finding.verdict for finding in expected.findings]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_however_the_work_is_divided(kind, dtype, monkeypatch, in_parts):
    expected = examined(kind, dtype)
    in_parts(sources=5, derivatives=2**20, lags=STEPS)
    assert_same(examined(kind, dtype), expected, TOLERANCE[dtype])
    monkeypatch.setattr(sys.modules[sweep.__module__], "ROWS_AT_ONCE", AtOnce(1, 1))
    for formed in (True, False):
        monkeypatch.setattr(Pullback, "_forming_pays", lambda self, gates, sources, formed=formed: formed)
        assert_same(examined(kind, dtype), expected, TOLERANCE[dtype])
    # With room for many steps that are played ahead.
    monkeypatch.setattr(sys.modules[sweep.__module__], "ROWS_AT_ONCE", AtOnce(STEPS, STEPS))
    monkeypatch.setattr(under_way, "NUMBERS_AHEAD", AtOnce(2**24, 2**24))
    assert_same(examined(kind, dtype), expected, TOLERANCE[dtype])


def test_on_however_many_threads():
    expected, threads = examined(nn.GRU, torch.float64), torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert_same(examined(nn.GRU, torch.float64), expected, TOLERANCE[torch.float64])
    finally:
        torch.set_num_threads(threads)
