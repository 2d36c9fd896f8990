"""Derivatives with respect to the model's input: models without a recurrence, and with one beside it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import naive
import throughtime as tt
from recorded import examined, run

STEPS, BATCH, SIZE = 7, 3, 4


class Attending(nn.Module):
    """A causal transformer on token numbers, (batch, time)."""

    def __init__(self):
        super().__init__()
        self.embedding, self.place = nn.Embedding(11, SIZE), nn.Parameter(torch.randn(STEPS, SIZE))
        self.layer = nn.TransformerEncoderLayer(SIZE, 2, 8, dropout=0.1, batch_first=True)
        self.readout = nn.Linear(SIZE, 11)

    def forward(self, tokens):
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], dtype=self.place.dtype)
        return self.readout(self.layer(self.embedding(tokens) + self.place, src_mask=mask, is_causal=True))


class Convolving(nn.Module):
    """Causal convolutions, (batch, channels, time)."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(SIZE, 5, 3), nn.Conv1d(5, 2, 2, dilation=2)

    def forward(self, inputs):
        first = self.first(nn.functional.pad(inputs, (2, 0))).tanh()
        return self.second(nn.functional.pad(first, (2, 0)))


class Mixing(nn.Module):
    """Linear over time and linear over features, in turns, (batch, time, features)."""

    def __init__(self):
        super().__init__()
        self.time, self.features, self.norm = nn.Linear(STEPS, STEPS), nn.Linear(SIZE, SIZE), nn.LayerNorm(SIZE)

    def forward(self, inputs):
        mixed = inputs + self.time(self.norm(inputs).transpose(1, 2)).transpose(1, 2).relu()
        return mixed + self.features(mixed).sin()


class Recurrent(nn.Module):
    """(time, batch, features)."""

    def __init__(self):
        super().__init__()
        self.gru, self.other = nn.GRU(SIZE, SIZE, num_layers=2), nn.RNN(SIZE, SIZE)

    def forward(self, inputs):
        return self.other(self.gru(inputs)[0])[0] + inputs.flip(0)


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64)


# How a model is built, what goes in, which axis of what is followed is time, and how the losses are read.
MODELS = {
    "transformer": (Attending, lambda: torch.randint(11, (BATCH, STEPS)), 1, lambda y, _: y.square().sum((0, 2))),
    "convolution": (Convolving, lambda: numbers(BATCH, SIZE, STEPS), 2, lambda y, _: y.square().sum((0, 1))),
    "mixer": (Mixing, lambda: numbers(BATCH, STEPS, SIZE), 1, lambda y, _: y.square().sum((0, 2))),
    "recurrence": (Recurrent, lambda: numbers(STEPS, BATCH, SIZE), 0, lambda y, _: y.square().sum((1, 2))),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def by_hand(model, inputs, loss, axis):
    """ln sqrt(mean over the batch of |dl_t/dx_i|^2), (loss_step, step)."""
    twin, kept = copy.deepcopy(model), []
    if inputs.is_floating_point():
        kept.append(inputs.clone().requires_grad_())
        losses = run(twin, kept[0], loss)
    else:
        twin.embedding.register_forward_hook(lambda module, given, output: kept.append(output))
        losses = run(twin, inputs, loss)
    gradients = naive.gradients(losses, kept)[0].movedim(axis + 1, 1)
    # What remains is (loss, time, batch, features), the first two axes of these two in any order.
    batch = gradients.shape[2]
    return gradients.square().flatten(2).sum(2).div(batch).log().div(2).numpy()


def assert_inputs(exam, expected):
    found = exam["inputs"].gradient_map
    assert list(found.state.values) == ["x"]
    np.testing.assert_allclose(found.sel(state="x", state_step=slice(1, None)), expected, rtol=0, atol=1e-9)
    assert not np.isfinite(found.sel(state_step=0)).any(), "no input stands before the first step"
    through = exam.causes("inputs").nats.sel(cause="step").values
    assert not np.isfinite(through).any(), "no step of the input leads to another"


@pytest.mark.parametrize("name", MODELS)
def test_every_step_of_the_input(name):
    build, draw, axis, loss = MODELS[name]
    model, inputs = build().double(), draw()
    given = inputs.clone()
    keywords = {"recurrence": "inputs"} if name == "recurrence" else {}
    exam = examined(model, inputs, loss, **keywords)
    assert torch.equal(inputs, given) and not inputs.requires_grad
    assert exam.recurrences == ["inputs"]
    assert_inputs(exam, by_hand(model, inputs, loss, axis))
    with pytest.raises(KeyError):
        exam.weight_terms("inputs", "weight")


@pytest.mark.parametrize("name", ["convolution", "transformer"])
def test_what_cannot_be_seen_is_zero(name):
    """A causal model has no derivative with respect to later inputs."""
    build, draw, _, loss = MODELS[name]
    found = examined(build().double(), draw(), loss)["inputs"].gradient_map.sel(state="x").values[:, 1:]
    later = np.triu(np.ones((STEPS, STEPS), bool), 1)
    assert np.isneginf(found[later]).all()
    within = 4 if name == "convolution" else STEPS
    sees = ~later & np.tril(np.ones((STEPS, STEPS), bool)) & ~np.tril(np.ones((STEPS, STEPS), bool), -within - 1)
    assert np.isfinite(found[sees]).all()


def test_recurrences_and_the_input_on_one_axis():
    build, draw, axis, loss = MODELS["recurrence"]
    model, inputs = build().double(), draw()
    exam = examined(model, inputs, loss, recurrence=["gru", "inputs"])
    assert exam.recurrences == ["gru.l0", "gru.l1", "inputs"]
    assert_inputs(exam, by_hand(model, inputs, loss, axis))
    alone = tt.examine(model, inputs, loss=loss)
    for layer in ("gru.l0", "gru.l1"):
        np.testing.assert_allclose(exam[layer].gradient_map, alone[layer].gradient_map, rtol=0, atol=1e-12)


@pytest.mark.parametrize("time_axis", [1, -2])
def test_a_scalar_loss_with_an_axis_of_time(time_axis):
    model, inputs = Mixing().double(), numbers(BATCH, STEPS, SIZE)

    def loss(output, _):
        return output.square().sum()

    exam = examined(model, inputs, loss, time_axis=time_axis)
    assert_inputs(exam, by_hand(model, inputs, loss, 1))
    assert exam["inputs"].attrs["steps"] == STEPS


def test_as_many_samples_as_steps_with_an_axis_of_time():
    model, inputs = Mixing().double(), numbers(STEPS, STEPS, SIZE)
    loss = MODELS["mixer"][3]
    exam = examined(model, inputs, loss, time_axis=1)
    assert_inputs(exam, by_hand(model, inputs, loss, 1))


def test_the_first_of_several_inputs():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.readout = nn.Linear(SIZE, SIZE)

        def forward(self, lengths, x, other):
            return self.readout(x.cumsum(0).sin() * other * lengths.unsqueeze(-1))

    inputs = (torch.tensor([1, 2, 3]), numbers(STEPS, BATCH, SIZE), numbers(STEPS, BATCH, SIZE))
    model = Model().double()
    loss = MODELS["recurrence"][3]
    exam = examined(model, inputs, loss)
    x = inputs[1].clone().requires_grad_()
    losses = list(loss(model(inputs[0], x, inputs[2]), None).unbind(0))
    expected = naive.gradients(losses, [x])[0].square().sum(3).mean(2).log() / 2
    assert_inputs(exam, expected.numpy())


@pytest.mark.parametrize(
    ("inputs", "loss", "keywords", "message"),
    [
        ((STEPS, STEPS, SIZE), "mixer", {}, r"time_axis: .*\(7, 7, 4\); 2 of its axes have the length 7"),
        ((BATCH, STEPS, SIZE), "half", {}, r"time_axis: .*; 0 of its axes have the length 5"),
        ((BATCH, STEPS, SIZE), "scalar", {}, r"time_axis: .*the loss is a scalar. Say which axis is time"),
        ((BATCH, STEPS, SIZE), "mixer", {"time_axis": 3}, r"time_axis: the input has the shape \(3, 7, 4\), found 3"),
        ((BATCH, STEPS, SIZE), "mixer", {"time_axis": -4}, r"time_axis: .*found -4"),
    ],
)
def test_an_axis_that_cannot_be_told(inputs, loss, keywords, message):
    losses = {
        "mixer": MODELS["mixer"][3],
        "half": lambda y, _: y[:, :5].square().sum((0, 2)),
        "scalar": lambda y, _: y.square().sum(),
    }
    with pytest.raises(tt.ExaminationError, match=message):
        tt.examine(Mixing().double(), numbers(*inputs), loss=losses[loss], **keywords)


def test_nothing_to_take_derivatives_with_respect_to():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(11))

        def forward(self, tokens):
            return self.weight[tokens]

    with pytest.raises(tt.ExaminationError, match=r"inputs: expected a floating-point tensor among them, or an nn"):
        tt.examine(Counting(), torch.randint(11, (STEPS, BATCH)), loss=lambda y, _: y.square().sum(1))


def test_the_notes_say_what_was_followed():
    exam = tt.examine(Mixing().double(), numbers(BATCH, STEPS, SIZE), loss=MODELS["mixer"][3])
    assert any("No recurrence was found" in note for note in exam.notes)
    assert any("what the output depends on" in note for note in exam.notes)


def test_a_loss_that_is_none_is_said_to_be_so_before_anything_is_said_about_axes():
    with pytest.raises(tt.ExaminationError, match=r"loss: expected a scalar, or a 1-D tensor"):
        tt.examine(Mixing().double(), numbers(BATCH, STEPS, SIZE), loss=lambda y, _: y.square().sum(2))
