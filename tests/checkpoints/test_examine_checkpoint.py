"""A checkpoint examined: against naive autograd in float64, in closed form, and as a user calls it."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import naive
import throughtime as tt


class Tagger(nn.Module):
    """An embedding, a recurrence and a head, as most models are made."""

    def __init__(self, kind=nn.LSTM, **options) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 6)
        self.encoder = kind(6, 5, **options)
        self.head = nn.Linear(self.encoder.hidden_size * (1 + self.encoder.bidirectional), 20)


def seeded(kind=nn.LSTM, **options):
    torch.manual_seed(0)
    return Tagger(kind, **options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (nn.LSTM, {"num_layers": 2, "bidirectional": True}),
        (nn.GRU, {"num_layers": 2, "bias": False}),
        (nn.RNN, {"bidirectional": True}),
        (nn.LSTM, {"num_layers": 2, "proj_size": 3}),
    ],
)
def test_maps_against_naive_autograd(tmp_path, kind, options) -> None:
    model = seeded(kind, **options).double()
    torch.save(model.state_dict(), tmp_path / "model.pt")
    inputs = torch.randn(7, 3, 6, dtype=torch.float64)
    exam = tt.examine_checkpoint(tmp_path / "model.pt", inputs, seed=4)
    runs = naive.layers(model.encoder, list(inputs.unbind(0))).runs
    assert exam.recurrences == [f"encoder.{name}" for name in runs]
    for index, (name, states) in enumerate(runs.items()):
        width = naive.sizes(model.encoder)[0]
        normal = torch.randn(7, 3, width, generator=torch.Generator().manual_seed(4 + index), dtype=torch.float64)
        v, reverse = nn.functional.normalize(normal, dim=-1), name.endswith("reverse")
        order = range(6, -1, -1) if reverse else range(7)
        losses = [(v[t] * states.hidden[k + 1]).sum() for k, t in enumerate(order)]
        for state, reached in {"h": states.hidden, "c": states.carried}.items():
            found = exam[f"encoder.{name}"]["gradient_map"]
            if state in found.state:
                expected = naive.gradient_map(losses, reached)
                expected = expected.flip(0, 1) if reverse else expected
                np.testing.assert_allclose(found.sel(state=state), expected, rtol=1e-9, atol=1e-9)


def test_the_source_is_a_direction_of_unit_length(tmp_path) -> None:
    torch.save(seeded().state_dict(), tmp_path / "model.pt")
    measures = tt.examine_checkpoint(tmp_path / "model.pt", steps=9, samples=3)["encoder.l0"]
    for t in range(1, 10):
        assert measures["gradient_map"].sel(state="h", loss_step=t, state_step=t).item() == pytest.approx(0, abs=1e-6)
    assert measures["lag_profile"].sel(state="h", lag=0).item() == pytest.approx(0, abs=1e-6)


def test_an_identity_relu_network_keeps_what_it_is_given(tmp_path) -> None:
    """ReLU, W_hh = I, all units active: every direction keeps its length (Le, Jaitly, Hinton 2015)."""
    weights = {"weight_ih_l0": torch.zeros(4, 2), "weight_hh_l0": torch.eye(4)}
    weights |= {"bias_ih_l0": torch.ones(4), "bias_hh_l0": torch.zeros(4)}
    torch.save({name: weight.double() for name, weight in weights.items()}, tmp_path / "irnn.pt")
    exam = tt.examine_checkpoint(tmp_path / "irnn.pt", steps=8, samples=2, nonlinearity="relu")
    assert exam["l0"]["decay_rate"].item() == pytest.approx(0, abs=1e-12)
    assert abs(exam["l0"]["step_jacobian"]).max() == 0
    assert exam.findings[0].verdict == "healthy"
    assert any("relu was assumed for l0" in note for note in exam.notes)


def test_an_lstm_that_forgets_as_its_bias_says(tmp_path) -> None:
    """Zero recurrent weights: dc_t/dc_k = sigmoid(b_f)^(t - k), time constant 3.192 steps at b_f = 1."""
    lstm = nn.LSTM(2, 3).double()
    with torch.no_grad():
        lstm.weight_hh_l0.zero_()
        lstm.weight_ih_l0.zero_()
        lstm.bias_ih_l0.copy_(torch.tensor([0.0, 1, 0, 0]).repeat_interleave(3))
        lstm.bias_hh_l0.zero_()
    torch.save(lstm.state_dict(), tmp_path / "lstm.pt")
    measures = tt.examine_checkpoint(tmp_path / "lstm.pt", steps=20, samples=2)["l0"]
    rate = math.log(1 / (1 + math.exp(-1)))
    assert measures["decay_rate"].sel(state="c").item() == pytest.approx(rate, rel=1e-9)
    assert measures["time_constant"].values == pytest.approx([3.192] * 3, abs=5e-4)
    assert measures["step_jacobian"].sel(norm="largest").values == pytest.approx(rate + math.log(1.25) / 2, rel=1e-9)


def test_step_jacobians_are_labelled_as_the_sequence_is(tmp_path) -> None:
    torch.manual_seed(0)
    gru = nn.GRU(2, 4, bidirectional=True).double()
    torch.save(gru.state_dict(), tmp_path / "gru.pt")
    inputs = torch.randn(5, 1, 2, dtype=torch.float64)
    found = tt.examine_checkpoint(tmp_path / "gru.pt", inputs)["l0.reverse"]["step_jacobian"]
    assert found.step.values.tolist() == [1, 2, 3, 4, 5]
    runs = naive.layers(gru, list(inputs.unbind(0))).runs
    states = runs["l0.reverse"].hidden  # the last of the sequence is read first
    rows = [torch.autograd.grad(unit, states[4], retain_graph=True)[0].flatten() for unit in states[5].flatten()]
    largest = torch.linalg.svdvals(torch.stack(rows))[0]
    assert found.sel(norm="largest", step=1).item() == pytest.approx(largest.log().item(), rel=1e-10)


def test_nothing_is_said_of_what_needs_a_loss(tmp_path) -> None:
    torch.save(seeded(num_layers=2).state_dict(), tmp_path / "model.pt")
    exam = tt.examine_checkpoint(tmp_path / "model.pt", steps=10, samples=2)
    assert exam.reach() == {}
    assert not {"truncation_error", "gradient_share", "window"} & set(exam["encoder.l0"].variables)
    with pytest.raises(KeyError, match=r"no loss was followed for 'encoder\.l0'"):
        exam.weight_terms("encoder.l0", "weight_hh")
    assert "No loss was followed" in exam.notes[0]
    assert all("No loss was followed" in finding.evidence for finding in exam.findings)
    assert {finding.recurrence for finding in exam.findings} == {"encoder.l0", "encoder.l1"}
    assert set(exam.causes("encoder.l1").data_vars) >= {"nats", "nats_by_lag", "share"}


def test_saved_and_loaded(tmp_path) -> None:
    torch.save(seeded(bidirectional=True).state_dict(), tmp_path / "model.pt")
    exam = tt.examine_checkpoint(tmp_path / "model.pt", steps=6, samples=2)
    exam.save(tmp_path / "exam.nc")
    same = tt.load(tmp_path / "exam.nc")
    assert same.recurrences == exam.recurrences and same.notes == exam.notes and same.reach() == {}
    for name in exam:
        assert same[name].identical(exam[name])


def test_what_it_draws_is_decided_by_the_seed(tmp_path) -> None:
    torch.save(seeded().state_dict(), tmp_path / "model.pt")
    first, again, other = (tt.examine_checkpoint(tmp_path / "model.pt", steps=6, seed=seed) for seed in (1, 1, 2))
    assert first["encoder.l0"].identical(again["encoder.l0"])
    assert not first["encoder.l0"].equals(other["encoder.l0"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_short_floats_are_followed_in_float32(tmp_path, dtype, suffix) -> None:
    weights = seeded().to(dtype).state_dict()
    path = tmp_path / f"model.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(weights, path)
    exam = tt.examine_checkpoint(path, steps=5, samples=2)
    assert exam["encoder.l0"].attrs["dtype"] == "float32"
    assert f"Weights stored in {str(dtype).removeprefix('torch.')} were followed in float32." in exam.notes


def test_progress_names_the_recurrences_of_the_file(tmp_path) -> None:
    torch.save(seeded(num_layers=2).state_dict(), tmp_path / "model.pt")
    calls = []
    tt.examine_checkpoint(tmp_path / "model.pt", steps=4, on_progress=lambda *call: calls.append(call))
    assert {name for *_, name in calls} == {"encoder.l0", "encoder.l1"}
    assert calls[-1][0] == calls[-1][1]


def test_a_network_that_explodes_is_named_as_the_file_names_it(tmp_path) -> None:
    weights = {"deep.weight_ih_l0": torch.ones(3, 2), "deep.weight_hh_l0": torch.full((3, 3), 1e9)}
    torch.save(weights, tmp_path / "model.pt")
    with pytest.raises(tt.ExaminationError, match=r"model\.pt: NaN or inf in the states of 'deep\.l0'; look at"):
        tt.examine_checkpoint(tmp_path / "model.pt", nonlinearity="relu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1}, "steps: expected a whole number of at least 2, found 1"),
        ({"samples": 0}, "samples: expected a whole number of at least 1, found 0"),
        ({"nonlinearity": "gelu"}, "nonlinearity: expected one of"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, message) -> None:
    torch.save(seeded().state_dict(), tmp_path / "model.pt")
    with pytest.raises(tt.ExaminationError, match=message):
        tt.examine_checkpoint(tmp_path / "model.pt", **options)


def test_a_place_that_is_no_checkpoint(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.pt: no such file"):
        tt.examine_checkpoint(tmp_path / "nothing.pt")
    with pytest.raises(tt.ExaminationError, match="a folder; give the name of the checkpoint in it"):
        tt.examine_checkpoint(tmp_path)
    (tmp_path / "model.keras").touch()
    with pytest.raises(tt.ExaminationError, match="a file of Keras; convert it to ONNX first"):
        tt.examine_checkpoint(tmp_path / "model.keras")


def test_of_many_samples_some_have_step_jacobians(tmp_path) -> None:
    torch.save(seeded().state_dict(), tmp_path / "model.pt")
    measures = tt.examine_checkpoint(tmp_path / "model.pt", steps=6, samples=7)["encoder.l0"]
    assert (measures.sizes["sample"], measures.sizes["first_sample"]) == (7, 4)
