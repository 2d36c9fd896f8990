"""Whole models with all kinds of modules before, between and after their recurrences, against hand-unrolled twins."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import naive
import throughtime as tt

STEPS, BATCH = 8, 3


class Residual(nn.Module):
    """Two stacked layers with a residual, norm and dropout between them."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.GRU(6, 6), nn.LSTM(6, 6)
        self.norm, self.drop, self.readout = nn.LayerNorm(6), nn.Dropout(0.4), nn.Linear(6, 3)

    def forward(self, inputs):
        states = self.first(inputs)[0] + inputs
        return self.readout(self.second(self.drop(self.norm(states)))[0] + states)


class Attending(nn.Module):
    """Self-attention over the states, all with all, and batch norm over samples and steps in training mode."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(6, 4, bidirectional=True, batch_first=True)
        self.norm, self.attention = nn.BatchNorm1d(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.top = nn.RNN(8, 4)

    def forward(self, inputs):
        states = self.encoder(inputs.transpose(0, 1))[0]
        states = self.norm(states.transpose(1, 2)).transpose(1, 2)
        return self.top(self.attention(states, states, states)[0].transpose(0, 1))[0]


class Seq2Seq(nn.Module):
    """The decoder starts from the encoder's last states and attends to its outputs."""

    def __init__(self, **keywords):
        super().__init__()
        self.encoder, self.decoder = (nn.LSTM(6, 5, num_layers=2, **keywords) for _ in range(2))

    def forward(self, inputs):
        states, last = self.encoder(inputs)
        decoded, _ = self.decoder(inputs.flip(0), last)
        weights = torch.einsum("tbh,sbh->tsb", decoded, states).softmax(1)
        return decoded + torch.einsum("tsb,sbh->tbh", weights, states)


class Convolved(nn.Module):
    """A convolution before, and one that halves the number of steps between two recurrences of different lengths."""

    def __init__(self):
        super().__init__()
        self.before = nn.Conv1d(6, 6, 3, padding=1)
        self.fine, self.pool, self.coarse = nn.GRU(6, 5), nn.Conv1d(5, 5, 2, stride=2), tt.Gated(5, 4)

    def forward(self, inputs):
        fine = self.fine(self.before(inputs.permute(1, 2, 0)).permute(2, 0, 1))[0]
        return self.coarse(self.pool(fine.permute(1, 2, 0)).permute(2, 0, 1))[0]


class Towers(nn.Module):
    """Two towers that are multiplied, and a recurrence that is used twice."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.shared = nn.RNN(6, 5), nn.GRU(6, 5, bidirectional=True), nn.LSTM(5, 5)

    def forward(self, inputs):
        right = self.right(inputs)[0]
        product = self.left(inputs)[0] * (right[..., :5] + right[..., 5:])
        return self.shared(torch.tanh(self.shared(product)[0] * 2))[0]


class LastCell(nn.Module):
    """A classifier that reads c and h of the last step of a deep bidirectional LSTM."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 4, num_layers=2, bidirectional=True)

    def forward(self, inputs):
        states, (h, c) = self.lstm(inputs)
        return torch.cat([h, c.sin()], -1).sum(0) + states.mean(0).repeat(1, 1)


class Words(nn.Module):
    """Words inside sentences: a recurrence over letters gives the inputs of one over words."""

    def __init__(self):
        super().__init__()
        self.letters, self.words = nn.GRU(6, 5), nn.RNN(5, 5, nonlinearity="relu")

    def forward(self, inputs):
        steps, batch, features = inputs.shape
        letters = inputs.view(steps // 2, 2, batch, features).permute(1, 0, 2, 3).reshape(2, -1, features)
        last = self.letters(letters)[1][0].view(steps // 2, batch, 5)
        return self.words(last)[0]


def per_step(output, _):
    return output.square().sum((1, 2))


def total(output, _):
    return (output.square().sum(-1) + output[..., 0]).sum()


MODELS = {
    "residual": (Residual, per_step),
    "attention": (Attending, per_step),
    "seq2seq": (Seq2Seq, per_step),
    "seq2seq, projected": (lambda: Seq2Seq(proj_size=3), per_step),
    "convolutions": (Convolved, per_step),
    "towers": (Towers, per_step),
    "last cell": (LastCell, total),
    "words": (Words, per_step),
    "scalar over all steps": (Residual, total),
}


def twin_of(model):
    twin = copy.deepcopy(model)
    for name, module in list(twin.named_modules()):
        if isinstance(module, (nn.RNN, nn.GRU, nn.LSTM, tt.Recurrent)):
            twin.set_submodule(name, naive.Unrolled(module))
    return twin


def runs_of(twin):
    """By name of the recurrence, its run."""
    runs = {}
    for name, module in twin.named_modules():
        if isinstance(module, naive.Unrolled):
            for call, by_layer in enumerate(module.calls):
                suffix = f"#{call + 1}" if call else ""
                runs |= {f"{name}.{layer}{suffix}": run for layer, run in by_layer.items()}
    return runs


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("parted", [False, True])
def test_model_against_its_unrolled_twin(name, parted, in_parts):
    if parted:
        in_parts(sources=3, derivatives=10_000, lags=4)
    build, loss = MODELS[name]
    torch.manual_seed(0)
    model = build().double()
    inputs = torch.randn(STEPS, BATCH, 6, dtype=torch.float64)
    torch.manual_seed(1)
    exam = tt.examine(model, inputs, loss=loss, loss_steps="all" if loss is per_step else [1])
    torch.manual_seed(1)
    twin = twin_of(model)
    losses = list(loss(twin(inputs), None).reshape(-1).unbind(0))
    runs = runs_of(twin)
    assert sorted(exam.recurrences) == sorted(runs)
    for recurrence, run in runs.items():
        reverse = ".reverse" in recurrence
        found = exam[recurrence].gradient_map
        for state, states in (("h", run.hidden), ("c", run.carried)):
            if state in found.state.values:
                expected = naive.gradient_map(losses, states)
                expected = expected.flip(1) if reverse else expected
                np.testing.assert_allclose(found.sel(state=state), expected, rtol=0, atol=1e-9)
        for weight in run.copies[0]:
            terms = torch.linalg.vector_norm(naive.weight_terms(losses, run, weight).flatten(2), dim=-1)
            terms = terms.flip(1) if reverse else terms
            norm = exam.weight_terms(recurrence, weight).norm
            np.testing.assert_allclose(norm, terms, rtol=1e-9, atol=1e-12)
            assert exam.weight_terms(recurrence, weight).attrs["relative_error"] < 1e-9
