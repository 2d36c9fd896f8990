"""The one call: what it leaves untouched, what it refuses, and its choices."""

import copy
import itertools
import random
import re

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import throughtime as tt


class Tagger(nn.Module):
    def __init__(self, recurrence: nn.Module, width: int, before: nn.Module | None = None) -> None:
        super().__init__()
        self.before = before or nn.Identity()
        self.recurrence, self.readout = recurrence, nn.Linear(width, 2)

    def forward(self, inputs):
        return self.readout(self.recurrence(self.before(inputs))[0])


def per_step(output, targets):
    return (output - targets).square().sum((1, 2))


def data(steps=7, batch=3, features=4):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(steps, batch, features, generator=generator), torch.randn(steps, batch, 2, generator=generator)


def tagger(kind=nn.GRU, **keywords):
    torch.manual_seed(0)
    return Tagger(kind(4, 5, **keywords), 5 * (1 + keywords.get("bidirectional", False)))


def examine(model=None, inputs=None, targets=None, loss=per_step, **keywords):
    x, y = data()
    model = tagger() if model is None else model
    return tt.examine(model, x if inputs is None else inputs, y if targets is None else targets, loss=loss, **keywords)


def test_the_model_and_the_random_state_are_left_as_they_were():
    class Noisy(Tagger):
        def forward(self, inputs):
            self.calls += 1
            # Not Python's random: the type checker that tests run under draws from it, too.
            noise = 1 + np.random.rand() * torch.rand(())
            flat = self.norm(inputs.flatten(0, 1)).view_as(inputs)
            return super().forward(nn.functional.dropout(flat, 0.3) * noise)

    torch.manual_seed(0)
    model = Noisy(nn.LSTM(4, 5, num_layers=2, dropout=0.5), 5)
    model.norm = nn.BatchNorm1d(4)
    model.register_buffer("calls", torch.tensor(0))
    model.recurrence.eval()
    model.recurrence.weight_hh_l0.requires_grad_(False)
    x, y = data()
    per_step(model(x), y).sum().backward()
    before = copy.deepcopy(model.state_dict())
    gradients = {name: p.grad for name, p in model.named_parameters()}
    copies = {name: None if g is None else g.clone() for name, g in gradients.items()}
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    training = {name: m.training for name, m in model.named_modules()}
    hooks = {name: len(m._forward_hooks) for name, m in model.named_modules()}
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(3)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    with torch.no_grad():
        exam = examine(model)
    assert (random.random(), np.random.rand()) == expected[:2]
    assert torch.equal(torch.rand(3), expected[2])
    assert exam.recurrences == ["recurrence.l0", "recurrence.l1"]
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for name, parameter in model.named_parameters():
        assert parameter.grad is gradients[name]
        assert parameter.grad is None or torch.equal(parameter.grad, copies[name])
    assert {name: p.requires_grad for name, p in model.named_parameters()} == flags
    assert {name: m.training for name, m in model.named_modules()} == training
    assert {name: len(m._forward_hooks) for name, m in model.named_modules()} == hooks
    assert "forward" not in vars(model.recurrence)


def test_a_bare_layer_is_called_l0():
    model = nn.RNN(4, 5)
    exam = tt.examine(model, data()[0], loss=lambda output, _: output[0].square().sum((1, 2)))
    assert exam.recurrences == ["l0"]
    assert (exam["l0"].attrs["input_size"], exam["l0"].attrs["hidden_size"]) == (4, 5)


def test_a_scalar_loss_is_the_loss_of_the_last_step():
    exam = examine(loss=lambda output, targets: output[-1].square().sum())
    assert exam["recurrence.l0"].loss_step.values.tolist() == [7]
    assert exam["recurrence.l0"].gradient_map.shape == (1, 1, 8)
    assert any("scalar" in note for note in exam.notes)


def test_a_loss_without_the_last_step_is_counted_from_the_step_it_reads():
    """Next-token losses of the usual kind: output[:-1] against inputs[1:]."""
    full = examine()["recurrence.l0"]
    exam = examine(loss=lambda output, targets: per_step(output[:-1], targets[:-1]))
    found = exam["recurrence.l0"]
    assert found.loss_step.values.tolist() == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(found.gradient_map, full.gradient_map.sel(loss_step=slice(1, 6)), atol=1e-5)
    assert found.lag.values.tolist() == list(range(7))
    assert any("6 losses for sequences of 7 steps" in note for note in exam.notes)
    pooled = examine(loss=lambda output, targets: per_step(output[2::3], targets[2::3]))["recurrence.l0"]
    # Two losses, at steps 3 and 6.
    assert pooled.lag.values.tolist() == list(range(7))
    assert np.isfinite(pooled.gradient_map.isel(state=0, loss_step=0)).values.tolist() == [True] * 4 + [False] * 4


def test_a_layer_above_may_read_later_steps_than_the_loss_reads_directly():
    class Ahead(nn.Module):
        """Loss k reads the lower layer at step k and the upper one at step k + 2."""

        def __init__(self):
            super().__init__()
            self.lower, self.upper = nn.GRU(4, 5), nn.GRU(5, 5)

        def forward(self, inputs):
            lower = self.lower(inputs)[0]
            return lower[:-2] + self.upper(lower)[0][2:]

    exam = tt.examine(Ahead().double(), data()[0].double(), loss=lambda output, _: output.square().sum((1, 2)))
    assert exam["lower.l0"].lag.values[0] == -2
    assert float(exam["lower.l0"].gradient_share.sum()) == pytest.approx(1, abs=1e-9)
    assert exam.weight_terms("lower.l0", "weight_hh").attrs["relative_error"] < 1e-12


def test_as_many_samples_as_steps_of_which_each_is_read_at_its_own_step():
    inputs, own = torch.randn(3, 3, 4), torch.eye(3)
    exam = examine(inputs=inputs, loss=lambda o, t: (o.square().sum(2) * own).sum(1))
    assert exam["recurrence.l0"].sizes["loss_step"] == 3


def test_a_single_layer_is_shown_where_it_is_named():
    model, inputs = Tagger(nn.GRU(4, 5, num_layers=2, bidirectional=True), 10), torch.randn(7, 3, 4)
    whole = examine(model, inputs)
    for named in ("recurrence.l1", "recurrence.l0.reverse", ["recurrence.l0", "recurrence.l1.reverse"]):
        exam = examine(model, inputs, recurrence=named)
        assert exam.recurrences == ([named] if isinstance(named, str) else named)
        for name in exam.recurrences:
            xr.testing.assert_identical(exam[name], whole[name])
        assert {finding.recurrence for finding in exam.findings} == set(exam.recurrences)
        assert "recurrence.l0" in exam.recurrences or any("'recurrence.l0'" in note for note in exam.notes)


def test_final_states_count():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrence = nn.LSTM(4, 5, num_layers=2, bidirectional=True, dtype=torch.float64)

        def forward(self, inputs):
            _, (h, c) = self.recurrence(inputs)
            return h.sum(0) + c.sin().sum(0)

    model, x = Last(), data()[0].double()
    exam = tt.examine(model, x, loss=lambda output, _: output.square().sum())
    assert exam.weight_terms("recurrence.l1.reverse", "weight_hh").attrs["relative_error"] < 1e-12
    assert exam.weight_terms("recurrence.l0", "weight_ih").attrs["relative_error"] < 1e-12


def test_two_layers_after_each_other_and_given_initial_states():
    class Chain(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = nn.GRU(4, 5), tt.Gated(5, 5)
            self.mix = nn.Conv1d(5, 5, 3, padding=1)

        def forward(self, inputs):
            states, last = self.encoder(inputs)
            mixed = self.mix(states.permute(1, 2, 0)).permute(2, 0, 1)
            return self.decoder(mixed, last)[0]

    torch.manual_seed(0)
    exam = tt.examine(Chain().double(), data()[0].double(), loss=lambda output, _: output.square().sum((1, 2)))
    assert exam.recurrences == ["encoder.l0", "decoder.l0"]
    for name in exam:
        assert exam.weight_terms(name, "weight_hh").attrs["relative_error"] < 1e-12
    # The convolution looks one step ahead, and the decoder's first state is the encoder's last.
    assert exam["encoder.l0"].lag.values[0] == -6
    assert exam["decoder.l0"].lag.values[0] == 0


def test_a_layer_that_is_called_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrence = nn.RNN(5, 5)

        def forward(self, inputs):
            return self.recurrence(self.recurrence(inputs)[0])[0]

    exam = tt.examine(
        Twice().double(), data(features=5)[0].double(), loss=lambda output, _: output.square().sum((1, 2))
    )
    assert exam.recurrences == ["recurrence.l0", "recurrence.l0#2"]
    assert exam.weight_terms("recurrence.l0", "weight_hh").attrs["relative_error"] < 1e-12


def test_one_step_and_one_sample_are_examined_and_said_so():
    x, y = data(steps=1, batch=1)
    exam = examine(inputs=x, targets=y)
    assert exam["recurrence.l0"].gradient_map.shape == (1, 1, 2)
    assert any("one step" in note for note in exam.notes) and any("one sample" in note for note in exam.notes)
    assert np.isnan(exam["recurrence.l0"].lag_profile_interval).all()
    assert exam.reach() == {"recurrence.l0": 1}


@pytest.mark.parametrize(("choice", "steps"), [("all", range(1, 8)), (3, [1, 4, 7]), (1, [7]), ([2, 5], [2, 5])])
def test_loss_steps(choice, steps):
    full = examine()["recurrence.l0"].gradient_map
    exam = examine(loss_steps=choice)
    chosen = exam["recurrence.l0"].gradient_map
    assert chosen.loss_step.values.tolist() == list(steps)
    np.testing.assert_allclose(chosen, full.sel(loss_step=list(steps)), rtol=0, atol=1e-5)
    assert exam.weight_terms("recurrence.l0", "weight_hh").attrs["relative_error"] < 1e-5


def test_max_lag_leaves_out_what_is_further_back():
    full, cut = examine()["recurrence.l0"], examine(max_lag=2)["recurrence.l0"]
    lag = full.loss_step - full.state_step
    assert np.isnan(cut.gradient_map.where(lag > 2, drop=True).values[0][np.tril_indices(4)]).all()
    near = (lag >= 0) & (lag <= 2)
    np.testing.assert_allclose(cut.gradient_map.where(near), full.gradient_map.where(near), atol=1e-5)
    assert cut.lag.values.tolist() == [0, 1, 2]


def test_memory_changes_no_number(in_parts):
    model = tagger(nn.LSTM, num_layers=2, bidirectional=True)
    whole = examine(model)
    in_parts(sources=2, derivatives=5000, lags=1000)
    small = examine(model)
    for name in whole:
        np.testing.assert_allclose(whole[name].gradient_map, small[name].gradient_map, rtol=0, atol=1e-5)
        np.testing.assert_allclose(whole[name].decay_rate, small[name].decay_rate, rtol=1e-5)


def test_progress_reaches_its_end():
    calls = []
    examine(tagger(num_layers=2), on_progress=lambda *call: calls.append(call))
    phases, steps = calls[:3], calls[3:]
    assert [name for _, _, name in phases] == [
        "the model's forward pass",
        "the model's backward pass",
        "its recurrences opened",
    ]
    assert {call[:2] for call in phases} == {(0, 1)}
    assert [done for done, _, _ in steps] == list(range(1, 17)) and {total for _, total, _ in steps} == {16}


def broken(name: str, value: float):
    model = tagger(num_layers=2)
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = value
    return model


class Stepped(nn.Module):
    """A cell in a loop."""

    def __init__(self):
        super().__init__()
        self.cell = nn.RNNCell(4, 5)

    def step(self, x, h):
        return torch.tanh(self.cell(x, h))

    def forward(self, inputs):
        h, states = inputs.new_zeros(inputs.shape[1], 5), []
        for x in inputs:
            h = self.step(x, h)
            states.append(h)
        return torch.stack(states)


class Half(nn.Module):
    """Turns large numbers into inf after the recurrence."""

    def forward(self, x):
        return x * 1e38 * 1e38


def summing():
    model = tagger(nn.RNN, nonlinearity="relu")
    nn.init.ones_(model.recurrence.weight_ih_l0)
    return model


def infinite_from(step):
    inputs = data()[0].clone()
    inputs[step - 1 :] = 3e38
    return inputs


class Constant(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrence, self.weight = nn.GRU(4, 5), nn.Parameter(torch.ones(2))

    def forward(self, inputs):
        self.recurrence(inputs)
        return self.weight.expand(7, 3, 2)


REFUSED = {
    "nan weight": (
        lambda: examine(broken("recurrence.weight_hh_l1", float("nan"))),
        r"recurrence\.weight_hh_l1 holds 1",
    ),
    "inf weight": (lambda: examine(broken("readout.bias", float("inf"))), r"readout\.bias holds 1"),
    "nan input": (lambda: examine(inputs=data()[0] * float("nan")), r"inputs: NaN or inf, first at index \[0, 0, 0\]"),
    "nan target": (
        lambda: examine(targets=data()[1] * float("nan")),
        r"loss: NaN or inf, first at step 1 of 7; look at its targets",
    ),
    "nan loss": (
        lambda: examine(loss=lambda o, t: per_step(o, t).log() * 0 / 0),
        r"loss: NaN or inf, first at step 1 of 7; the model's output is finite, up to 0\.\d+: look at the loss and its",
    ),
    "output that runs away": (
        lambda: examine(broken("readout.bias", 1e25)),
        r"loss: NaN or inf, first at step 1 of 7; the model's output goes up to 1e\+25, too far for the loss: look for",
    ),
    "overflow inside": (
        lambda: examine(summing(), inputs=infinite_from(4)),
        r"recurrence 'recurrence\.l0', first at step 4 of 7, in its pre-activation",
    ),
    "overflow before": (
        lambda: examine(Tagger(nn.RNN(4, 5), 5, before=Half())),
        r"the output of before \(Half\) holds NaN or inf",
    ),
    "shape (time, batch)": (lambda: examine(loss=lambda o, t: o.square().sum(2)), r"loss: .* found shape \(7, 3\)"),
    "wrong length": (
        lambda: examine(loss=lambda o, t: o.square().sum((0, 2))),
        r"3 losses, as many as there are samples, .* of 7 steps",
    ),
    "as many samples as steps": (
        lambda: examine(inputs=torch.randn(3, 3, 4), loss=lambda o, t: o.square().sum((0, 2))),
        r"3 losses, as many as there are samples, .* of 3 steps",
    ),
    "as many samples as steps, read at their end": (
        lambda: examine(inputs=torch.randn(3, 3, 4), loss=lambda o, t: o[-1].square().sum(-1)),
        r"3 losses, as many as there are samples, .* of 3 steps",
    ),
    "as many samples as steps, of a loop": (
        lambda: examine(Stepped(), inputs=torch.randn(3, 3, 4), loss=lambda o, t: o.square().sum((0, 2))),
        r"3 losses, as many as there are samples, .* of 3 steps",
    ),
    "empty loss": (lambda: examine(loss=lambda o, t: o.sum((1, 2))[:0]), r"found shape \(0,\)"),
    "detached loss": (lambda: examine(loss=lambda o, t: o.detach().sum((1, 2))), r"does not depend on the model"),
    "no recurrence by that name": (lambda: examine(recurrence="rnn"), r"recurrence: 'rnn' is not called step by step"),
    "no layer by that name": (
        lambda: examine(recurrence="recurrence.l1"),
        r"recurrence: there is no 'recurrence\.l1'; found 'recurrence\.l0'",
    ),
    "empty sequence": (lambda: examine(inputs=torch.zeros(0, 3, 4)), r"empty sequence, shape \(0, 3, 4\)"),
    "empty batch": (lambda: examine(inputs=torch.zeros(7, 0, 4)), r"empty sequence, shape \(7, 0, 4\)"),
    "loss past the recurrence": (
        lambda: examine(Constant()),
        r"does not depend on any recurrence \('recurrence\.l0'\)",
    ),
    "float16": (lambda: examine(tagger().half()), r"torch\.float16.*\.float\(\)"),
    "bfloat16": (lambda: examine(tagger().bfloat16()), r"torch\.bfloat16.*\.float\(\)"),
    "loss_steps": (lambda: examine(loss_steps=[0, 3]), r"loss_steps: expected .*from 1 to 7, found \[0, 3\]"),
    "loss_steps word": (lambda: examine(loss_steps="some"), r"loss_steps: .*'some'"),
    "max_lag": (lambda: examine(max_lag=-1), r"max_lag: expected a whole number of at least 0, found -1"),
    "memory": (lambda: examine(memory=0), r"memory: expected a whole number of at least 1, found 0"),
    "not repeatable": (
        lambda: examine(Tagger(nn.GRU(4, 5), 5, before=Counting())),
        r"recurrence 'recurrence' gave other outputs",
    ),
    "tied weight": (lambda: examine(Tied()), r"weight terms of weight_ih in recurrence 'recurrence\.l0' do not add up"),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_lag", 2.5),
        ("max_lag", True),
        ("memory", 1e9),
        ("window", "5"),
        ("seed", "a"),
        ("time_axis", 0.0),
        ("recurrence", 5),
        ("recurrence", [0]),
        ("tokens", 5),
        ("trained_in", "float16"),
    ],
)
def test_an_argument_of_the_wrong_type_is_named(name, value):
    with pytest.raises(TypeError, match=f"^{name}: expected .* found {re.escape(repr(value))}"):
        examine(**{name: value})


def test_what_is_missing_or_of_another_library_is_named():
    inputs, _ = data()
    with pytest.raises(TypeError, match=r"targets: none were given, and loss\(output, None\) fails"):
        tt.examine(tagger(), inputs, loss=per_step)
    with pytest.raises(TypeError, match=r"inputs: expected tensors, found a NumPy array; use torch\.from_numpy"):
        tt.examine(tagger(), inputs.numpy(), loss=per_step)
    with pytest.raises(TypeError, match=r"inputs: expected tensors, found a NumPy array; use torch\.from_numpy"):
        tt.examine(tagger(), [inputs.numpy()], loss=per_step)
    with pytest.raises(TypeError, match=r"recurrence: expected a string or several, found \[\]"):
        examine(recurrence=[])


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = itertools.count(1)

    def forward(self, x):
        return x * next(self.calls)


class Tied(Tagger):
    def __init__(self):
        super().__init__(nn.RNN(4, 5), 5)

    def forward(self, inputs):
        return super().forward(inputs) + self.recurrence.weight_ih_l0.sum()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_examined_says_why(name):
    call, message = REFUSED[name]
    with pytest.raises(tt.ExaminationError, match=message):
        call()


def test_wrong_types():
    with pytest.raises(TypeError, match=r"model: expected a torch\.nn\.Module, found int"):
        tt.examine(3, 0, loss=per_step)
    with pytest.raises(TypeError, match=r"loss: expected a function"):
        tt.examine(tagger(), data()[0])
    with pytest.raises(TypeError, match=r"loss: expected it to return a tensor, found float"):
        examine(loss=lambda output, targets: 1.0)


def test_a_damaged_file_is_named(tmp_path):
    examine().save(tmp_path / "exam.nc")
    (tmp_path / "cut.nc").write_bytes((tmp_path / "exam.nc").read_bytes()[:500])
    with pytest.raises(OSError, match=r"path: '.*cut\.nc' is damaged"):
        tt.load(tmp_path / "cut.nc")


def test_save_and_load(tmp_path):
    exam = examine(tagger(nn.LSTM, num_layers=2), tokens="abcdefg")
    exam.save(tmp_path / "exam.nc")
    again = tt.load(tmp_path / "exam.nc")
    assert again.recurrences == exam.recurrences and again.findings == exam.findings
    assert again.tokens == tuple("abcdefg") and again.notes == exam.notes
    for name in exam:
        assert again[name].identical(exam[name])
        assert again.causes(name).identical(exam.causes(name))
        for weight in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            assert again.weight_terms(name, weight).identical(exam.weight_terms(name, weight))


def test_asking_for_what_is_not_there():
    exam = examine()
    with pytest.raises(KeyError, match="recurrence: expected one of"):
        exam["decoder.l0"]
    with pytest.raises(KeyError, match=r"weight: 'recurrence\.l0' has"):
        exam.weight_terms("recurrence.l0", "weight_xx")
    with pytest.raises(ValueError, match="fraction: expected"):
        exam.reach(1.0)
