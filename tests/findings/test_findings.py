import pytest
import torch
from torch import nn

import throughtime as tt


def finding(weight, steps=120, relu=False):
    torch.manual_seed(0)
    layer = nn.RNN(4, 16, nonlinearity="relu" if relu else "tanh")
    with torch.no_grad():
        layer.weight_hh_l0.copy_(weight * (torch.eye(16) if relu else torch.linalg.qr(torch.randn(16, 16))[0]))
        layer.weight_ih_l0.mul_(0.1)
        layer.bias_ih_l0.fill_(1.0 if relu else 0.0)
    inputs = torch.randn(steps, 4, 4)
    found = tt.examine(layer, inputs, loss=lambda output, _: output[0].sum((1, 2))).findings
    assert len(found) == 1
    return found[0]


def test_small_weights_vanish():
    found = finding(0.3)
    assert (found.verdict, found.severity, found.recurrence) == ("vanishing", 3, "l0")
    assert "beyond float32's epsilon (15.9)" in found.evidence and "the weights −1.2" in found.evidence
    assert "gated" in found.remedies[0] and "2001" in found.reference


def test_an_orthogonal_matrix_is_healthy():
    found = finding(1.0, steps=40)
    assert (found.verdict, found.severity, found.remedies) == ("healthy", 0, ())


def test_large_weights_explode():
    found = finding(1.5, steps=60, relu=True)
    assert found.verdict == "exploding" and "more than a hundredfold" in found.evidence
    assert "clip" in found.remedies[0].lower()


@pytest.mark.parametrize(("bias", "verdict"), [(-5.0, "vanishing"), (5.0, "healthy")])
def test_the_forget_gate_decides_for_an_lstm(bias, verdict):
    torch.manual_seed(0)
    layer = nn.LSTM(4, 8)
    with torch.no_grad():
        layer.bias_ih_l0[8:16] = bias
    exam = tt.examine(layer, torch.randn(100, 4, 4), loss=lambda output, _: output[0].sum((1, 2)))
    assert exam.findings[0].verdict == verdict
