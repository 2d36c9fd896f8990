"""Packed sequences: every sample against a twin that runs it alone, at its own length."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import naive
import throughtime as tt

LENGTHS = [4, 7, 1, 6]
STEPS = max(LENGTHS)


class Packed(nn.Module):
    """Embedding, packed recurrence with a given initial state, readout of every step and of the final states."""

    def __init__(self, kind, enforce_sorted: bool = False, **keywords) -> None:
        super().__init__()
        self.recurrence = kind(3, 4, bidirectional=True, batch_first=True, **keywords)
        self.start = nn.Parameter(torch.randn(2 * self.recurrence.num_layers, 1, 4))
        self.readout = nn.Linear(8, 2)

    def initial(self, batch: int):
        start = self.start.expand(-1, batch, -1)
        return (start, start.sin()) if isinstance(self.recurrence, nn.LSTM) else start

    def forward(self, inputs, lengths):
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        output, last = self.recurrence(packed, self.initial(len(inputs)))
        states, _ = pad_packed_sequence(output, batch_first=True)
        last = last if isinstance(last, tuple) else (last,)
        return self.readout(states), sum(part.sin().sum((0, 2)) for part in last)


def per_step(output, lengths):
    """The loss of every step, padding left out, and what the final states say, counted at the last step."""
    logits, last = output
    valid = torch.arange(logits.shape[1]) < torch.as_tensor(lengths).unsqueeze(1)
    losses = (logits.square().sum(-1) * valid).sum(0)
    return torch.cat([losses[:-1], losses[-1:] + last.sum()])


def alone(model, inputs, length):
    """One sample, unrolled at its own length: its losses by step, and its runs."""
    unrolled = naive.Unrolled(model.recurrence)
    start = model.initial(1)
    sample = inputs[:length].unsqueeze(0)
    states, last = unrolled(sample, start)
    last = last if isinstance(model.recurrence, nn.LSTM) else (last,)
    steps = model.readout(states).square().sum(-1)[0]
    final = sum(part.sin().sum() for part in last)
    losses = [steps[t] if t < length else 0 * steps[0] for t in range(STEPS)]
    return [*losses[:-1], losses[-1] + final], unrolled.calls[0]


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("layers", [1, 2])
def test_padding_contributes_nothing(kind, layers):
    torch.manual_seed(0)
    model = Packed(kind, num_layers=layers).double()
    inputs = torch.randn(len(LENGTHS), STEPS, 3, dtype=torch.float64)
    exam = tt.examine(model, (inputs, torch.tensor(LENGTHS)), LENGTHS, loss=per_step)
    samples = [alone(model, inputs[b], length) for b, length in enumerate(LENGTHS)]
    assert exam.recurrences == [f"recurrence.{name}" for name in samples[0][1]]
    for name in samples[0][1]:
        reverse = name.endswith("reverse")
        states = ("hidden", "carried") if kind is nn.LSTM else ("hidden",)
        for state, runs in zip("hc", states, strict=False):
            squares = np.zeros((STEPS, STEPS + 1))
            for (losses, run), length in zip(samples, LENGTHS, strict=True):
                found = (2 * naive.gradient_map(losses, getattr(run[name], runs))).exp().numpy()
                squares[:, : length + 1] += found[:, ::-1] if reverse else found
            with np.errstate(divide="ignore"):
                expected = np.log(squares / len(LENGTHS)) / 2
            np.testing.assert_allclose(exam[f"recurrence.{name}"].gradient_map.sel(state=state), expected, atol=1e-9)
        for weight in ("weight_ih", "weight_hh", "bias_ih"):
            terms = 0
            for (losses, run), length in zip(samples, LENGTHS, strict=True):
                of_sample = naive.weight_terms(losses, run[name], weight)
                of_sample = of_sample.flip(1) if reverse else of_sample
                padded = of_sample.new_zeros(STEPS, STEPS, *of_sample.shape[2:])
                padded[:, :length] = of_sample
                terms = terms + padded
            found = exam.weight_terms(f"recurrence.{name}", weight)
            np.testing.assert_allclose(found.norm, terms.flatten(2).norm(dim=-1), rtol=1e-9, atol=1e-12)
            assert found.attrs["relative_error"] < 1e-12


def test_dropout_between_packed_layers_is_the_one_that_is_drawn():
    torch.manual_seed(0)
    model = Packed(nn.GRU, num_layers=2, dropout=0.5).double()
    inputs = torch.randn(len(LENGTHS), STEPS, 3, dtype=torch.float64)
    exam = tt.examine(model, (inputs, torch.tensor(LENGTHS)), LENGTHS, loss=per_step)
    assert exam.weight_terms("recurrence.l0", "weight_hh").attrs["relative_error"] < 1e-12


def test_a_packed_sequence_may_be_the_input_itself():
    layer = nn.GRU(3, 4).double()
    sequences = [torch.randn(length, 3, dtype=torch.float64) for length in (5, 3, 3)]
    packed = nn.utils.rnn.pack_sequence(sequences)

    def loss(output, _):
        assert isinstance(output[0], PackedSequence)
        return pad_packed_sequence(output[0])[0].square().sum((1, 2))

    exam = tt.examine(layer, packed, loss=loss)
    assert exam["l0"].attrs["steps"] == 5
    assert exam.weight_terms("l0", "weight_hh").attrs["relative_error"] < 1e-12


class GoesOn(nn.Module):
    """Reads ragged beginnings, and goes on with as many further steps of every sample from where it ended."""

    def __init__(self, kind):
        super().__init__()
        self.recurrence, self.readout = kind(3, 4), nn.Linear(4, 2)

    def forward(self, inputs):
        beginnings, further = inputs
        packed = pack_padded_sequence(beginnings, LENGTHS, enforce_sorted=False)
        _, state = self.recurrence(packed)
        return self.readout(self.recurrence(further, state)[0])


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
def test_what_goes_on_from_the_ends_of_samples(kind):
    torch.manual_seed(0)
    model = GoesOn(kind).double()
    beginnings, further = (torch.randn(STEPS, len(LENGTHS), 3, dtype=torch.float64) for _ in range(2))
    exam = tt.examine(model, ((beginnings, further),), loss=lambda output, _: output.square().sum((1, 2)))
    assert exam.recurrences == ["recurrence.l0"]
    states = ("hidden", "carried") if kind is nn.LSTM else ("hidden",)
    squares = np.zeros((len(states), STEPS, 2 * STEPS + 1))
    terms = 0
    for sample, length in enumerate(LENGTHS):
        first = naive.layers(model.recurrence, list(beginnings[:length, [sample]].unbind(0)))
        then = naive.layers(model.recurrence, list(further[:, [sample]].unbind(0)), first.last)
        losses = list(model.readout(torch.stack(then.outputs)).square().sum((1, 2)).unbind(0))
        runs = first.runs["l0"], then.runs["l0"]
        for index, state in enumerate(states):
            found = [(2 * naive.gradient_map(losses, getattr(run, state))).exp().numpy() for run in runs]
            squares[index, :, : length + 1] += found[0]
            squares[index, :, STEPS + 1 :] += found[1][:, 1:]
        of_sample = [naive.weight_terms(losses, run, "weight_hh") for run in runs]
        padding = of_sample[0].new_zeros(STEPS, STEPS - length, *of_sample[0].shape[2:])
        terms = terms + torch.cat([of_sample[0], padding, of_sample[1]], 1)
    with np.errstate(divide="ignore"):
        expected = np.log(squares / len(LENGTHS)) / 2
    np.testing.assert_allclose(exam["recurrence.l0"].gradient_map, expected, atol=1e-9)
    found = exam.weight_terms("recurrence.l0", "weight_hh")
    np.testing.assert_allclose(found.norm, terms.flatten(2).norm(dim=-1), rtol=1e-9, atol=1e-12)
    assert found.attrs["relative_error"] < 1e-12
