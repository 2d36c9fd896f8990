"""Throughtime's layers with what they take besides torch's arguments: lengths, resets, the states of every step."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import throughtime as tt

STEPS, BATCH = 9, 3
LENGTHS = torch.tensor([9, 5, 7])
BORDER = 5  # the first step of the second sequence
KINDS = [tt.RNN, tt.GRU, tt.LSTM, tt.PeepholeLSTM, tt.MinGRU, tt.IndRNN, tt.QRNN, tt.LRU]


class Model(nn.Module):
    """A stack, a readout, and how the stack is called."""

    def __init__(self, kind, call, **keywords):
        super().__init__()
        torch.manual_seed(1)
        self.layer, self.call = kind(3, 4, dtype=torch.float64, **keywords), call
        self.readout = nn.Linear(4 * self.layer.num_directions, 2, dtype=torch.float64)

    def forward(self, inputs):
        return self.readout(self.call(self.layer, inputs))


def examined(model, inputs):
    return tt.examine(model, inputs, loss=lambda output, _: output.square().sum((1, 2)))


def drawn():
    torch.manual_seed(0)
    return torch.randn(STEPS, BATCH, 3, dtype=torch.float64)


def packed(layer, inputs):
    return pad_packed_sequence(layer(pack_padded_sequence(inputs, LENGTHS, enforce_sorted=False))[0])[0]


def resetting(mask):
    return lambda layer, inputs: layer(inputs, reset_mask=mask)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_lengths_are_what_packing_is(kind):
    keywords = {"num_layers": 2, "bidirectional": True}
    found = examined(Model(kind, lambda layer, inputs: layer(inputs, lengths=LENGTHS)[0], **keywords), drawn())
    expected = examined(Model(kind, packed, **keywords), drawn())
    assert found.recurrences == expected.recurrences
    for name in found.recurrences:
        np.testing.assert_allclose(found[name].gradient_map, expected[name].gradient_map, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_passes_a_reset(kind):
    """Two sequences in one are two calls, one after the other."""
    mask = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    mask[BORDER - 1] = True
    parts = slice(0, BORDER - 1), slice(BORDER - 1, None)
    whole = examined(Model(kind, resetting(mask)), drawn())["layer.l0"].gradient_map
    for part in parts:
        steps = range(part.start or 0, part.stop or STEPS)
        alone = examined(Model(kind, lambda layer, inputs: layer(inputs)[0]), drawn()[part])["layer.l0"].gradient_map
        # State 0 of the part is the last of the part before, from which nothing goes on.
        found = whole.sel(loss_step=slice(steps[0] + 1, steps[-1] + 1), state_step=slice(steps[0] + 1, steps[-1] + 1))
        np.testing.assert_allclose(found, alone.sel(state_step=slice(1, None)), rtol=1e-9)
    assert (whole.sel(loss_step=slice(BORDER, None), state_step=slice(0, BORDER - 1)) == -np.inf).all()


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_sample_has_resets_of_its_own(kind, bidirectional):
    """The first sample as if it were alone; that the terms of all add up to .grad, the examination checks itself."""
    torch.manual_seed(2)
    mask = torch.rand(STEPS, BATCH) < 0.3
    keywords = {"num_layers": 2, "bidirectional": bidirectional}
    exam = examined(Model(kind, resetting(mask), **keywords), drawn())
    alone = examined(Model(kind, resetting(mask[:, :1]), **keywords), drawn()[:, :1])
    for name in exam.recurrences:
        np.testing.assert_allclose(exam[name].sample_map, alone[name].sample_map, rtol=1e-9)
        causes = exam.causes(name)
        change = causes.nats.sum("cause", skipna=False)
        # What passes nothing on is no finite number of nats.
        assert np.isfinite(change).any()
        by_step = exam[name].gradient_map.isel(state=-1)
        for source in causes.loss_step.values:
            for step in range(1, STEPS + 1):
                if np.isfinite(change.sel(loss_step=source, state_step=step)):
                    later, earlier = (step, step - 1) if not name.endswith("reverse") else (step, step + 1)
                    expected = by_step.sel(loss_step=source)
                    expected = expected.sel(state_step=earlier) - expected.sel(state_step=later)
                    np.testing.assert_allclose(change.sel(loss_step=source, state_step=step), expected, atol=1e-9)


@pytest.mark.parametrize("kind", [tt.RNN, tt.GRU, tt.MinGRU])
def test_the_states_of_every_step_are_followed(kind):
    found = examined(Model(kind, lambda layer, inputs: layer(inputs, return_all_states=True)[2][-1]), drawn())
    expected = examined(Model(kind, lambda layer, inputs: layer(inputs)[0]), drawn())
    np.testing.assert_allclose(found["layer.l0"].gradient_map, expected["layer.l0"].gradient_map, rtol=1e-12)


def test_states_that_cannot_be_followed_at_every_step_are_refused():
    model = Model(tt.LSTM, lambda layer, inputs: layer(inputs, return_all_states=True)[0])
    with pytest.raises(tt.ExaminationError, match="return_all_states"):
        examined(model, drawn())
