"""What a dtype rounds to zero: against the same network unrolled by autograd in that dtype."""

import pytest
import torch
from torch import nn

import throughtime as tt

STEPS, UNITS = 30, 16


def network(gain):
    torch.manual_seed(0)
    layer = nn.RNN(4, UNITS)
    with torch.no_grad():
        layer.weight_hh_l0.copy_(gain * torch.linalg.qr(torch.randn(UNITS, UNITS))[0])
        for bias in (layer.bias_ih_l0, layer.bias_hh_l0):
            bias.zero_()
    return layer, 0.1 * torch.randn(STEPS, 4, 4), torch.randn(UNITS)


def examined(gain, scale, dtype):
    layer, inputs, read = network(gain)
    exam = tt.examine(layer, inputs, loss=lambda output, _: scale * (output[0][-1] @ read).sum(), trained_in=dtype)
    return {found.verdict: found for found in exam.findings}


def first_lag_lost(gain, scale, dtype):
    """From which lag on autograd in the dtype is more wrong than right: an error above 1/sqrt(2).

    Rounding to the nearest number keeps a part of what is too small alive, as noise; so zeros alone do not tell.
    """

    def gradients(dtype):
        layer, inputs, read = network(gain)
        weight_ih, weight_hh = layer.weight_ih_l0.detach().to(dtype), layer.weight_hh_l0.detach().to(dtype)
        states = [torch.zeros(4, UNITS, dtype=dtype, requires_grad=True)]
        for x in inputs.to(dtype):
            states.append(torch.tanh(x @ weight_ih.T + states[-1] @ weight_hh.T))
        return torch.autograd.grad(states[-1], states, (scale * read).to(dtype).expand(4, -1))[::-1]

    pairs = zip(gradients(dtype), gradients(torch.float64), strict=True)
    errors = [float((found.double() - exact).norm() / exact.norm()) for found, exact in pairs]
    return next((lag for lag, error in enumerate(errors) if error > 0.5**0.5), None)


@pytest.mark.parametrize(("gain", "scale"), [(0.8, 1e-6), (0.9, 1e-6), (0.85, 5e-7), (1.0, 2e-8)])
def test_the_first_lag_that_is_lost_in_float16(gain, scale):
    found = examined(gain, scale, torch.float16)["underflow"]
    expected = first_lag_lost(gain, scale, torch.float16)
    assert abs(found.numbers[0].value - expected) <= 2
    assert found.numbers[0].low <= found.numbers[0].value <= found.numbers[0].high
    assert found.severity == (2 if expected else 3) and "In float16, what is below 6e-08 is rounded" in found.evidence


def test_the_cost_is_that_of_a_window():
    """Lags from K on are lost, so that what is left is the gradient of a window of K steps."""
    layer, inputs, read = network(0.8)
    exam = tt.examine(
        layer, inputs, loss=lambda output, _: 1e-6 * (output[0][-1] @ read).sum(), trained_in=torch.float16
    )
    lost, error, _ = exam.findings[-1].numbers
    assert error.value == float(exam["l0"].truncation_error.sel(window=int(lost.value))) > error.threshold


def test_the_scale_that_would_do_does():
    found = examined(0.9, 1e-6, torch.float16)["underflow"]
    assert found.remedies[0].startswith("Multiply the loss by 2^")
    power = int(found.remedies[0].split("^")[1].split(",")[0])
    assert "underflow" not in examined(0.9, 1e-6 * 2**power, torch.float16)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, None])
def test_where_the_range_is_that_of_float32_nothing_is_lost(dtype):
    assert first_lag_lost(0.9, 1e-6, dtype or torch.float32) is None
    assert "underflow" not in examined(0.9, 1e-6, dtype)


def test_what_vanishes_first_is_not_lost_by_rounding():
    assert list(examined(0.3, 1.0, torch.float16)) == ["vanishing"]
    assert first_lag_lost(0.3, 1.0, torch.float16) is not None


def test_what_is_no_floating_dtype_is_refused():
    layer, inputs, _ = network(0.5)
    for given in ("float16", torch.int8):
        with pytest.raises(TypeError, match=r"trained_in: expected a floating dtype such as torch\.bfloat16, found"):
            tt.examine(layer, inputs, loss=lambda output, _: output[0].sum(), trained_in=given)


def test_both_are_kept_with_the_measures():
    layer, inputs, _ = network(0.5)
    exam = tt.examine(layer, inputs, loss=lambda output, _: output[0].sum(), trained_in=torch.bfloat16, window=7)
    assert (exam["l0"].attrs["trained_in"], exam["l0"].attrs["window"]) == ("bfloat16", 7)
