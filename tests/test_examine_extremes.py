"""Networks at the ends of the range, where autograd rounds to 0, overflows, or has nothing to say."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime import report
from throughtime.report.readings import readings


def last(output, _):
    return output[0][-1].sum()


def per_step(output, _):
    return output[0].square().sum((1, 2))


def rnn(hidden=8, bias=0.0, weight=None, dtype=torch.float32, **keywords):
    torch.manual_seed(0)
    layer = nn.RNN(3, hidden, dtype=dtype, **keywords)
    with torch.no_grad():
        layer.bias_ih_l0 += bias
        if weight is not None:
            layer.weight_hh_l0.copy_(weight)
    return layer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [6.0, 20.0])
def test_a_saturated_network_is_examined_where_autograd_rounds_its_slopes_to_zero(dtype, bias):
    steps = 2000
    layer, inputs = rnn(bias=bias, dtype=dtype), torch.randn(steps, 2, 3, dtype=dtype)
    exam = tt.examine(layer, inputs, loss=last)
    reached = exam["l0"].gradient_map.sel(state="h", loss_step=steps, state_step=0).item()
    assert -np.inf < reached < -2000
    # In float64, the same product of slopes and weights, step by step.
    layer, inputs = layer.double(), inputs.double()
    h, slopes = torch.zeros(2, 8, dtype=torch.float64), []
    for x in inputs:
        a = x @ layer.weight_ih_l0.T + layer.bias_ih_l0 + h @ layer.weight_hh_l0.T + layer.bias_hh_l0
        h = a.tanh()
        slopes.append(a.cosh().pow(-2))
    adjoint, scale = torch.ones(2, 8, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for slope in reversed(slopes):
        adjoint = (adjoint * slope) @ layer.weight_hh_l0
        norm = adjoint.norm(dim=-1)
        adjoint, scale = adjoint / norm.unsqueeze(-1), scale + norm.log()
    expected = (torch.logsumexp(2 * scale, 0) - math.log(2)).item() / 2
    assert reached == pytest.approx(expected, rel=1e-5 if dtype == torch.float32 else 1e-10)
    assert exam.findings[0].verdict == "vanishing"


@pytest.mark.parametrize(
    ("gain", "dtype", "past"), [(3.0, torch.float32, False), (6.0, torch.float32, True), (5.0, torch.float64, False)]
)
def test_a_network_that_explodes(gain, dtype, past):
    """To the end of the range of its dtype, and past it."""
    hidden, steps = 64, 300 if dtype == torch.float32 else 1500
    torch.manual_seed(1)
    weight = gain * torch.randn(hidden, hidden, dtype=dtype) / hidden**0.5
    exam = tt.examine(rnn(hidden, weight=weight, dtype=dtype), 0.1 * torch.randn(steps, 2, 3, dtype=dtype), loss=last)
    dataset = exam["l0"]
    assert exam.findings[0].verdict == "exploding"
    assert np.isfinite(dataset.truncation_error).all()
    assert float(dataset.gradient_share.sum()) == pytest.approx(1, abs=1e-4)
    compared = exam.weight_terms("l0", "weight_hh").attrs["relative_error"]
    assert any("is not finite" in note for note in exam.notes) is past
    assert math.isnan(compared) if past else 0 < compared < 1e-3


def test_the_self_check_notices_missing_terms(monkeypatch):
    from throughtime.measures.weight_terms import Terms

    torch.manual_seed(1)
    weight = 3 * torch.randn(64, 64) / 8
    monkeypatch.setattr(Terms, "total", lambda self: torch.zeros_like(self.by_band[0]).double())
    for layer in (rnn(64, weight=weight), rnn(), rnn(bias=3.0)):
        with pytest.raises(tt.ExaminationError, match="do not add up"):
            tt.examine(layer, 0.1 * torch.randn(100, 2, 3), loss=last)


class Silent(nn.Module):
    """A recurrence whose loss is exactly zero in every derivative."""

    def __init__(self, readout):
        super().__init__()
        self.recurrence, self.readout = nn.GRU(3, 4), readout

    def forward(self, inputs):
        return (self.readout(self.recurrence(inputs)[0]),)


def zeros():
    readout = nn.Linear(4, 2)
    nn.init.zeros_(readout.weight)
    return readout


@pytest.mark.parametrize("readout", [zeros(), nn.Threshold(10.0, 0.0)], ids=["zero readout", "dead units"])
def test_no_gradient_is_a_finding(readout):
    exam = tt.examine(
        Silent(readout), torch.randn(6, 2, 3), loss=lambda output, _: (output[0] - 1).square().sum((1, 2))
    )
    assert exam.findings[0].verdict == "readout-bound"
    assert (exam["recurrence.l0"].gradient_map == -np.inf).all()
    assert exam.weight_terms("recurrence.l0", "weight_hh").norm.sum() == 0
    assert np.isnan(exam["recurrence.l0"].gradient_share).all()
    assert "its weights get no gradient" in report.to_html({"": exam})


def test_dead_relu_units_and_a_nilpotent_matrix():
    assert tt.examine(rnn(bias=-50.0, nonlinearity="relu"), torch.randn(6, 2, 3), loss=per_step).findings
    layer = rnn(4, bias=1.0, weight=torch.diag(torch.ones(3), 1), nonlinearity="relu")
    finding = tt.examine(layer, 0.1 * torch.rand(20, 2, 3), loss=per_step).findings[0]
    assert finding.verdict == "vanishing" and "exactly zero from lag 4 on" in finding.evidence


def test_masks_of_minus_infinity_are_no_mistake():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrence, self.attention = nn.GRU(4, 4), nn.MultiheadAttention(4, 2)
            self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(6))

        def forward(self, inputs, mask):
            states = self.recurrence(inputs)[0]
            return (self.attention(states, states, states, attn_mask=self.mask + mask)[0],)

    torch.manual_seed(0)
    mask = nn.Transformer.generate_square_subsequent_mask(6)
    exam = tt.examine(Masked(), (torch.randn(6, 2, 4), mask), loss=per_step)
    # The mask is causal, so no loss reaches a later state.
    assert exam["recurrence.l0"].lag.values[0] == 0


def test_a_state_that_a_model_keeps_between_calls():
    class Stateful(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrence, self.h = nn.GRU(3, 4), None

        def forward(self, inputs):
            output, h = self.recurrence(inputs, self.h)
            self.h = h.detach()
            return (output,)

    model = Stateful().double()
    model(torch.randn(5, 2, 3, dtype=torch.float64))
    kept = model.h
    exam = tt.examine(model, torch.randn(5, 2, 3, dtype=torch.float64), loss=per_step)
    assert model.h is kept
    assert exam.weight_terms("recurrence.l0", "weight_hh").attrs["relative_error"] < 1e-12


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_model_may_change_what_a_layer_returned_in_place(batch_first):
    class Masking(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrence = nn.GRU(3, 4, batch_first=batch_first, dtype=torch.float64)

        def forward(self, inputs):
            output = self.recurrence(inputs)[0]
            output[:, 1] = 0
            return output

    inputs = torch.randn(5, 5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    time, batch = (1, 0) if batch_first else (0, 1)
    exam = tt.examine(Masking(), inputs, loss=lambda output, _: output.square().sum((batch, 2)))
    assert exam.weight_terms("recurrence.l0", "weight_hh").attrs["relative_error"] < 1e-12
    assert exam["recurrence.l0"].sizes["loss_step"] == inputs.shape[time]


def test_a_weight_that_two_layers_share():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.GRU(4, 4), nn.GRU(4, 4)
            self.second.weight_hh_l0 = self.first.weight_hh_l0

        def forward(self, inputs):
            return self.second(self.first(inputs)[0])

    exam = tt.examine(Shared().double(), torch.randn(5, 2, 4, dtype=torch.float64), loss=per_step)
    assert exam.weight_terms("second.l0", "weight_hh").attrs["relative_error"] < 1e-12


def test_what_lies_beyond_max_lag_is_not_claimed():
    layer = nn.GRU(3, 8)
    with torch.no_grad():
        layer.bias_ih_l0[8:16] = 4.0
    inputs = torch.randn(100, 2, 3)
    whole, cut = (tt.examine(layer, inputs, loss=per_step, max_lag=lag) for lag in (None, 5))
    assert whole.reach()["l0"] > 20
    assert cut.reach()["l0"] == 6
    assert "From lag 0 to lag 5" in cut.findings[0].evidence
    assert any("at least" in note for note in cut.notes)


@pytest.mark.parametrize("make", [lambda: nn.LSTM(3, 8, num_layers=2, proj_size=3), lambda: tt.ResetBeforeGRU(3, 8)])
def test_what_max_lag_leaves_out_is_known_from_the_whole_gradient(make):
    """The truncation error is that of the whole gradient, at every window up to max_lag + 1."""
    torch.manual_seed(0)
    layer, inputs = make().double(), torch.randn(40, 2, 3, dtype=torch.float64)
    whole, cut = (tt.examine(layer, inputs, loss=per_step, max_lag=lag) for lag in (None, 12))
    for name in whole:
        expected = whole[name].truncation_error.sel(window=slice(1, 13))
        np.testing.assert_allclose(cut[name].truncation_error, expected, rtol=1e-6)
        assert cut.reach(0.9)[name] == whole.reach(0.9)[name] < 13
        share = whole[name].gradient_share.sel(lag=slice(0, 12))
        np.testing.assert_allclose(cut[name].gradient_share, share, rtol=1e-6, atol=1e-9)
        terms = cut.weight_terms(name, "weight_hh")
        assert 1e-9 < terms.attrs["relative_error"] < 0.1


def test_beyond_max_lag_nothing_is_known_of_a_weight_that_two_recurrences_share():
    layer = nn.GRU(4, 4)
    second = nn.GRU(4, 4)
    second.weight_hh_l0 = layer.weight_hh_l0
    model = nn.ModuleList([layer, second])
    model.forward = lambda inputs: second(layer(inputs)[0])
    cut = tt.examine(model, torch.randn(20, 2, 4), loss=per_step, max_lag=3)
    assert np.isnan(cut["0.l0"].truncation_error).all() and cut.reach()["0.l0"] == 4
    assert readings({"": cut})[0].learns == "learns from at least the last 4 of 20 steps"
    assert readings({"": cut})[0].told_window(0.9) == "at least 4"


def test_where_no_gradient_arrives_no_step_is_reached():
    model = nn.GRU(4, 4)
    exam = tt.examine(model, torch.randn(20, 2, 4), loss=lambda output, _: 0 * output[0].square().sum((1, 2)))
    assert exam.reach() == {"l0": 0} and exam["l0"].attrs["recommended_window"] == 0
    assert readings({"": exam})[0].learns == "learns nothing: its weights get no gradient"
    exam.to_json()


def test_a_layer_that_is_not_initialised_is_refused():
    with pytest.raises(tt.ExaminationError, match="not initialised yet"):
        tt.examine(nn.Sequential(nn.LazyLinear(3), nn.GRU(3, 4)), torch.randn(5, 2, 3), loss=per_step)


class Own(nn.LSTM):
    def forward(self, input, hx=None):
        output, state = super().forward(input * 2, hx)
        return output.sin(), state


class DroppedWeights(nn.Module):
    """Dropout on recurrent weights, as AWD-LSTM does it (Merity, Keskar, Socher 2018)."""

    def __init__(self):
        super().__init__()
        self.recurrence = nn.LSTM(3, 4)
        self.raw = nn.Parameter(self.recurrence._parameters.pop("weight_hh_l0").detach())

    def forward(self, inputs):
        self.recurrence.weight_hh_l0 = nn.functional.dropout(self.raw, 0.5)
        return self.recurrence(inputs)


@pytest.mark.parametrize(
    "model",
    [
        Own(3, 4),
        DroppedWeights(),
        torch.nn.utils.parametrizations.weight_norm(nn.GRU(3, 4), "weight_hh_l0"),
        torch.compile(nn.GRU(3, 4), backend="eager"),
    ],
    ids=["a forward function of its own", "dropout on weights", "weight norm", "compiled"],
)
def test_layers_that_are_not_quite_torchs(model):
    exam = tt.examine(model.double(), torch.randn(5, 2, 3, dtype=torch.float64), loss=per_step)
    (name,) = exam.recurrences
    for weight in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        assert exam.weight_terms(name, weight).attrs["relative_error"] < 1e-12


class ThereAndBack(nn.GRU):
    def forward(self, input, hx=None):
        return super().forward(input.flip(0), super().forward(input, hx)[1])


@pytest.mark.parametrize("given", [nn.GRU, ThereAndBack])
def test_a_subclass_that_runs_its_layer_twice_in_a_call(given):
    """One recurrence of twice the steps, as where the model itself calls the layer twice."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.layer = given(3, 4)

        def forward(self, inputs):
            if given is ThereAndBack:
                return self.layer(inputs)[0]
            return self.layer(inputs.flip(0), self.layer(inputs)[1])[0]

    torch.manual_seed(1)
    inputs = torch.randn(5, 2, 3, dtype=torch.float64)
    exam = tt.examine(Model().double(), inputs, loss=lambda output, _: output.square().sum((1, 2)))
    assert exam["layer.l0"].attrs["steps"] == 10
    assert exam.weight_terms("layer.l0", "weight_hh").attrs["relative_error"] < 1e-12


def test_few_losses_and_a_largest_lag_of_what_is_read_ahead():
    """Every loss reads the last state too, so that distances go further than the windows."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.GRU(4, 5)

        def forward(self, inputs):
            output, last = self.layer(inputs)
            return output + last

    torch.manual_seed(0)
    model, inputs = Model(), torch.randn(24, 3, 4)
    loss = lambda output, _: output.square().sum((1, 2))  # noqa: E731
    few = tt.examine(model, inputs, loss=loss, loss_steps=3, max_lag=5)["layer.l0"]
    assert few.truncation_error_interval.sizes["window"] == few.truncation_error.sizes["window"]
    assert few.window.max() == 6


def test_settings_that_are_refused():
    layer, inputs = nn.GRU(3, 4), torch.randn(5, 2, 3)
    with pytest.raises(tt.ExaminationError, match=r"loss: it is torch\.float16"):
        tt.examine(layer, inputs, loss=lambda output, _: per_step(output, _).half())
    with torch.inference_mode(), pytest.raises(tt.ExaminationError, match="inference mode"):
        tt.examine(layer, inputs, loss=per_step)
    with pytest.raises(tt.ExaminationError, match="tokens: expected one per step"):
        tt.examine(layer, inputs, loss=per_step, tokens="abc")
    assert tt.examine(layer, inputs, loss=per_step, loss_steps=np.int64(2)).recurrences == ["l0"]
