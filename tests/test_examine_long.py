"""Long sequences, of which few losses are followed, and none far back: the numbers are those of autograd, nearby."""

import numpy as np
import pytest
import torch
from torch import nn

import naive
import throughtime as tt
from throughtime.adjoint import segments

STEPS, LAG, SOURCES = 600, 40, (90, 350, 600)


class Model(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.readout(self.layer(inputs)[0])


def per_step(output: torch.Tensor, targets: None) -> torch.Tensor:
    return output.square().sum((1, 2))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM])
def test_the_map_of_a_few_losses_is_autograds(kind, monkeypatch):
    # As if a single vector over the sequence were already large.
    monkeypatch.setattr(segments, "BYTES_AT_ONCE", 1)
    torch.manual_seed(0)
    model, inputs = Model(kind(3, 4)).double(), torch.randn(STEPS, 2, 3, dtype=torch.float64)
    exam = tt.examine(model, inputs, loss=per_step, loss_steps=SOURCES, max_lag=LAG)
    run = naive.layers(model.layer, list(inputs), [(torch.zeros(2, 4).double().requires_grad_(),) * 2]).runs["l0"]
    losses = per_step(model.readout(torch.stack(run.hidden[1:])), None)
    for source in SOURCES:
        first = source - LAG
        near = naive.gradient_map([losses[source - 1]], run.hidden[first : source + 1])[0]
        found = exam["layer.l0"].gradient_map.sel(state="h", loss_step=source, state_step=slice(first, source))
        np.testing.assert_allclose(found, near, rtol=0, atol=1e-9)
    far = exam["layer.l0"].gradient_map.sel(state="h", loss_step=600, state_step=slice(0, 600 - LAG - 1))
    assert np.isnan(far).all()
