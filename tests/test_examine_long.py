"""Long sequences, of which few losses are followed, and none far back: the numbers are those of autograd, nearby."""

import numpy as np
import pytest
import torch
from torch import nn

import naive
import throughtime as tt
from throughtime import budget
from throughtime.adjoint import segments
from throughtime.unroll import trajectory
from throughtime.unroll.recomputed import Recomputed

STEPS, LAG, SOURCES = 600, 40, (90, 350, 600)


class Model(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(4 * (1 + layer.bidirectional), 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.readout(self.layer(inputs)[0])


def per_step(output: torch.Tensor, targets: None) -> torch.Tensor:
    return output.square().sum((1, 2))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_map_of_a_few_losses_is_autograds(kind, bidirectional, monkeypatch):
    # As if a single vector over the sequence were already large.
    monkeypatch.setattr(segments, "BYTES_AT_ONCE", 1)
    torch.manual_seed(0)
    model = Model(kind(3, 4, bidirectional=bidirectional)).double()
    inputs = torch.randn(STEPS, 2, 3, dtype=torch.float64)
    exam = tt.examine(model, inputs, loss=per_step, loss_steps=SOURCES, max_lag=LAG)
    layers = naive.layers(model.layer, list(inputs))
    losses = per_step(model.readout(torch.stack(layers.outputs)), None)
    for name, run in layers.runs.items():
        reverse = name.endswith("reverse")
        measures, causes = exam[f"layer.{name}"], exam.causes(f"layer.{name}")
        kept, column = set(), measures.gradient_map.sel(state=measures.attrs["carried"])
        for source in SOURCES:
            # In reading order, the states near the loss.
            position = STEPS + 1 - source if reverse else source
            near = np.arange(max(0, position - LAG), position + 1)
            labels = STEPS + 1 - near if reverse else near
            for state, states in (("h", run.hidden), ("c", run.carried)):
                if state in measures.state.values:
                    expected = naive.gradient_map([losses[source - 1]], [states[i] for i in near])[0]
                    found = measures.gradient_map.sel(state=state, loss_step=source, state_step=labels)
                    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
            change = np.diff(column.sel(loss_step=source, state_step=labels).values)
            nats = causes.nats.sum("cause").sel(loss_step=source, state_step=labels[1:])
            np.testing.assert_allclose(nats, -change, rtol=0, atol=1e-9)
            terms = naive.weight_terms([losses[source - 1]], run, "weight_hh")[0].flatten(1).norm(dim=-1)
            found = exam.weight_terms(f"layer.{name}", "weight_hh").norm.sel(loss_step=source)
            steps = near[near > 0]
            np.testing.assert_allclose(found.sel(state_step=labels[near > 0]), terms[steps - 1], rtol=1e-9)
            kept |= {*labels.tolist(), *({STEPS + 1 - near[0] + 1 if reverse else near[0] - 1} if near[0] else ())}
        # The states that are followed, and the one before each last one: nothing grows with the sequence itself.
        assert measures.state_step.values.tolist() == sorted(kept)


def test_of_a_long_sequence_the_causes_by_lag_are_those_of_the_short_distance():
    torch.manual_seed(0)
    model, inputs = Model(nn.GRU(3, 4)).double(), torch.randn(STEPS, 2, 3, dtype=torch.float64)
    cut, whole = (tt.examine(model, inputs, loss=per_step, loss_steps=SOURCES, max_lag=lag) for lag in (LAG, None))
    expected = whole.causes("layer.l0").nats_by_lag.sel(lag=slice(0, LAG))
    np.testing.assert_allclose(cut.causes("layer.l0").nats_by_lag, expected, rtol=1e-9, atol=1e-12)
    profile = whole["layer.l0"].lag_profile.sel(lag=slice(0, LAG))
    np.testing.assert_allclose(cut["layer.l0"].lag_profile, profile, rtol=1e-12)


@pytest.mark.parametrize(
    "make",
    [lambda: nn.LSTM(3, 4), lambda: nn.GRU(3, 4), lambda: tt.SRU(3, 4), lambda: tt.PeepholeLSTM(3, 4)],
    ids=["LSTM", "GRU", "SRU", "PeepholeLSTM"],
)
def test_derivatives_that_are_made_stretch_by_stretch_change_no_number(make, in_parts):
    """With room for one step, and for a few."""
    torch.manual_seed(0)
    model, inputs = Model(make()).double(), torch.randn(30, 2, 3, dtype=torch.float64)
    whole = tt.examine(model, inputs, loss=per_step)
    for derivatives in (1, 10_000):
        in_parts(sources=7, derivatives=derivatives, lags=30)
        exam = tt.examine(model, inputs, loss=per_step)
        for variable in ("gradient_map", "lag_profile"):
            np.testing.assert_allclose(exam["layer.l0"][variable], whole["layer.l0"][variable], rtol=0, atol=1e-9)
        for variable in ("nats", "share", "gain"):
            found, expected = exam.causes("layer.l0")[variable], whole.causes("layer.l0")[variable]
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        for weight in ("weight_ih", "weight_hh"):
            found, expected = (one.weight_terms("layer.l0", weight).ln_norm for one in (exam, whole))
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("lengths", [None, [30, 4, 17]])
def test_what_is_seen_stretch_by_stretch_is_what_is_seen_at_once(lengths, monkeypatch):
    torch.manual_seed(0)
    layer, inputs = tt.LSTM(3, 4).double(), torch.randn(30, 3, 3, dtype=torch.float64)

    def looked_at():
        arguments = {"input": inputs, "lengths": lengths}
        return tt.examine(layer, arguments, loss=lambda output, _: output[0].square().sum((1, 2)))["l0"]

    whole = looked_at()
    monkeypatch.setattr(trajectory, "NUMBERS_AT_ONCE", 16 * 3 * 7)
    parts = looked_at()
    for name in ("time_constant", "gate_range"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (lambda: nn.RNN(3, 4), torch.float64),
        (lambda: nn.GRU(3, 4, num_layers=2, bidirectional=True), torch.float64),
        (lambda: nn.LSTM(3, 4, proj_size=2), torch.float64),
        (lambda: nn.LSTM(3, 4, num_layers=2), torch.float32),
    ],
    ids=["RNN", "GRU", "projected LSTM", "LSTM"],
)
def test_pre_activations_that_are_made_again_change_no_number(make, dtype, in_parts, monkeypatch):
    torch.manual_seed(0)
    layer, inputs = make().to(dtype), torch.randn(40, 3, 3, dtype=dtype)

    def examined():
        return tt.examine(layer, inputs, loss=lambda output, _: output[0].square().sum((1, 2)))

    whole, tolerance = examined(), 1e-9 if dtype == torch.float64 else 1e-4
    made = []
    monkeypatch.setattr(budget, "KEPT", 0)
    in_parts(sources=11, derivatives=5000, lags=1000)
    monkeypatch.setattr(Recomputed, "__getitem__", counted(Recomputed.__getitem__, made))
    again = examined()
    assert made
    for name in whole:
        for quantity, expected in whole[name].data_vars.items():
            if expected.dtype.kind == "f":
                found = again[name][quantity]
                np.testing.assert_allclose(
                    found, expected, rtol=tolerance, atol=tolerance, err_msg=f"{name} {quantity}"
                )
        np.testing.assert_allclose(again.causes(name).nats, whole.causes(name).nats, rtol=0, atol=20 * tolerance)


def counted(function, calls):
    def also_counted(self, places):
        calls.append(places)
        return function(self, places)

    return also_counted
