"""However few lags are shown of a recurrence, they are those of the whole gradient, whatever leads there."""

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt

BATCH, SIZE, LAG = 3, 5, 2


class Translating(nn.Module):
    """A decoder that starts from the encoder's last state, with attention or without."""

    def __init__(self, attends):
        super().__init__()
        self.attends = attends
        self.encoder, self.decoder = nn.GRU(SIZE, SIZE), nn.GRU(2 * SIZE, SIZE)
        self.readout = nn.Linear(SIZE, SIZE)

    def forward(self, inputs):
        read, h = self.encoder(inputs[:6])
        context, outputs = torch.zeros_like(read[0]), []
        for x in inputs:
            output, h = self.decoder(torch.cat((x, context), -1).unsqueeze(0), h)
            outputs.append(self.readout(output[0]))
            if self.attends:
                weights = torch.softmax((read * h).sum(-1, keepdim=True), 0)
                context = (weights * read).sum(0)
        return torch.stack(outputs)


class Stacked(nn.Module):
    """Layers, of which the ones above may read in the other direction."""

    def __init__(self, both):
        super().__init__()
        self.layers, self.readout = nn.LSTM(SIZE, SIZE, 3, bidirectional=both), nn.Linear(SIZE * (1 + both), SIZE)

    def forward(self, inputs):
        return self.readout(self.layers(inputs)[0])


class OnALoop(nn.Module):
    """A layer whose initial state a loop has made."""

    def __init__(self):
        super().__init__()
        self.cell, self.layer = nn.Linear(2 * SIZE, SIZE), nn.GRU(SIZE, SIZE)

    def step(self, x, h):
        return torch.tanh(self.cell(torch.cat((x, h), -1)))

    def forward(self, inputs):
        h = torch.zeros_like(inputs[0])
        for x in inputs[:6]:
            h = self.step(x, h)
        return self.layer(inputs, h.unsqueeze(0))[0]


MODELS = {
    "encoder and decoder": lambda: Translating(False),
    "attention": lambda: Translating(True),
    "one direction": lambda: Stacked(False),
    "both directions": lambda: Stacked(True),
    "a loop below": OnALoop,
}


def loss(output, targets):
    return (output - targets).square().sum((1, 2))


@pytest.mark.parametrize("name", MODELS)
def test_what_is_shown_is_the_whole_gradient(name):
    torch.manual_seed(0)
    model, inputs = MODELS[name]().double(), torch.randn(9, BATCH, SIZE, dtype=torch.float64)
    whole, cut = (
        tt.examine(model, inputs, torch.zeros_like(inputs), loss=loss, loss_steps=[3, 8], max_lag=lag)
        for lag in (None, LAG)
    )
    assert cut.recurrences == whole.recurrences
    for recurrence in whole.recurrences:
        shown, every = cut[recurrence].lag_profile, whole[recurrence].lag_profile.sel(lag=slice(None, LAG))
        np.testing.assert_allclose(shown.sel(lag=every.lag), every, rtol=1e-9, err_msg=recurrence)
        assert shown.lag.max() == LAG
        shown, every = (one[recurrence].gradient_map for one in (cut, whole))
        here = np.isfinite(shown)
        assert here.any(("state", "state_step")).all(), recurrence
        np.testing.assert_allclose(
            shown.where(here), every.sel(state_step=shown.state_step).where(here), rtol=1e-9, err_msg=recurrence
        )


@pytest.mark.parametrize("build", [lambda: nn.LSTM(3, 4, bidirectional=True), lambda: Stepwise()])
def test_a_weight_term_that_was_not_followed_is_not_told(build):
    torch.manual_seed(0)
    model, inputs = build().double(), torch.randn(9, 2, 3, dtype=torch.float64)

    def loss(output, _):
        return (output[0] if isinstance(output, tuple) else output).square().sum((1, 2))

    whole, cut = (tt.examine(model, inputs, loss=loss, max_lag=lag) for lag in (None, 3))
    for name in cut.recurrences:
        assert cut[name].attrs["max_lag"] == 3 and "max_lag" not in whole[name].attrs
        for weight in cut.relative_errors(name):
            found, every = cut.weight_terms(name, weight).norm, whole.weight_terms(name, weight).norm
            lag = (found.loss_step - found.state_step) * (-1 if "reverse" in name else 1)
            assert (found.isnull() == (lag > 3)).all()
            np.testing.assert_allclose(found.where(lag <= 3, 0), every.where(lag <= 3, 0), rtol=1e-9)


class Stepwise(nn.Module):
    """A loop whose equations are not known."""

    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Linear(3, 4), nn.Linear(4, 4)

    def step(self, x, h):
        return torch.tanh(self.x(x) + self.h(h))

    def forward(self, inputs):
        h, states = inputs.new_zeros(inputs.shape[1], 4), []
        for x in inputs:
            h = self.step(x, h)
            states.append(h)
        return torch.stack(states)
