"""Signal to noise by lag: planted cases, its two parts without bias, and naive autograd sample by sample."""

import numpy as np
import pytest
import torch
from torch import nn

import naive
import throughtime as tt
from throughtime.measures.octaves import Octaves, SampleGram
from throughtime.measures.signal_to_noise import signal_and_noise, signal_to_noise

STEPS, SAMPLES = 9, 4


class Linear(tt.Cell):
    """h_t = x_t + W h_{t-1}."""

    gates = ("h",)

    def step(self, x, u, h):
        return tt.Update(keep=0, write=1, candidate=x.h + u.h)


def linear(signs):
    """dl_t/dh_i is sign * 0.9^(t-i) in every sample, and every input and every state of a sample the same."""
    layer = tt.Recurrent(Linear, 1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(layer.weight_hh_l0, 0.9)
    signs = torch.tensor(signs, dtype=torch.float64)
    inputs = torch.ones(STEPS, len(signs), 1, dtype=torch.float64)
    loss = lambda output, _: (output[0].squeeze(-1) * signs).sum(1)  # noqa: E731
    return tt.examine(layer, inputs, loss=loss)["l0"].signal_to_noise.sel(lag=slice(0, STEPS - 1))


def test_samples_that_are_equal_are_all_signal():
    assert (linear([1, 1, 1, 1]) == np.inf).all()


@pytest.mark.parametrize("signs", [[1, -1], [1, -1, 1, -1, -1, 1, 1, -1]])
def test_samples_that_point_either_way_are_all_noise(signs):
    """The mean is zero, so that the estimate is at its end, -1 / B."""
    np.testing.assert_allclose(linear(signs), -1 / len(signs), rtol=1e-9)


def test_half_of_the_samples_silent():
    """Of two of four samples 1, of the others 0: mu is 1/2, and the variance 1/4; without bias 1/6 and 1/3."""
    np.testing.assert_allclose(linear([1, 0, 1, 0]), (1 / 6) / (1 / 3), rtol=1e-9)


def test_one_sample_tells_nothing():
    assert linear([1]).isnull().all()


def gram_of(gradients):
    """Of (band, sample, weight)."""
    bands = len(gradients)
    return SampleGram.of(Octaves(torch.arange(bands)), [gradients], torch.zeros(bands, dtype=torch.float64), 1e-12)


def test_both_parts_are_unbiased_for_three_samples():
    """|mu|^2 is 4, 1 and 0, the trace of the covariance 10 in every one of 2000 draws."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)[:, None, None] * torch.eye(1, 10, dtype=torch.float64)
    found = [
        torch.stack(signal_and_noise(gram_of(mean + torch.randn(3, 3, 10, generator=generator, dtype=torch.float64))))
        for _ in range(2000)
    ]
    signal, noise = torch.stack(found).mean(0)
    np.testing.assert_allclose(signal, [4, 1, 0], atol=0.15)
    np.testing.assert_allclose(noise, [10, 10, 10], atol=0.2)


def test_nothing_is_neither():
    assert signal_to_noise(gram_of(torch.zeros(2, 3, 4, dtype=torch.float64))).isnan().all()


@pytest.mark.parametrize(
    "module",
    [
        nn.RNN(2, 3),
        nn.GRU(2, 3, bias=False),
        nn.LSTM(2, 3),
        nn.LSTM(2, 3, proj_size=2),
        tt.Gated(2, 3),
    ],
    ids=str,
)
def test_against_naive_autograd(module, in_parts):
    """A loss that looks at later states too: what reaches forwards counts by its distance."""
    torch.manual_seed(0)
    module = module.double()
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -1, 1)
    inputs = torch.randn(STEPS, SAMPLES, 2, dtype=torch.float64)

    def read(output):
        return (output + 0.1 * output.flip(0)).square().sum((1, 2))

    in_parts()
    dataset = tt.examine(module, inputs, loss=lambda output, _: read(output[0]))["l0"]
    gradients = naive.gradients_by_sample(module, inputs, read)
    found = dataset.signal_to_noise
    for band in ([0], [1], [2, 3], [4, 5, 6, 7], [8]):
        expected = signal_to_noise(gram_of(gradients[band].sum(0, keepdim=True)))
        lags = [lag for lag in found.lag.values if abs(lag) in band]
        np.testing.assert_allclose(found.sel(lag=lags), float(expected), rtol=1e-7, err_msg=str(band))


@pytest.mark.parametrize("cell", [tt.IndRNN, tt.PeepholeLSTM, tt.MinGRU, tt.GRU])
def test_the_cells_own_layers_of_one_sample_twice(cell):
    """Equal samples are all signal whatever the weights are: matrices, vectors, none."""
    torch.manual_seed(0)
    inputs = torch.randn(STEPS, 1, 2, dtype=torch.float64).expand(-1, 3, -1)
    dataset = tt.examine(cell(2, 3).double(), inputs, loss=lambda output, _: output[0].square().sum((1, 2)))["l0"]
    assert (dataset.signal_to_noise.sel(lag=slice(0, 5)) == np.inf).all()


def test_many_features_are_looked_at_in_random_directions():
    torch.manual_seed(0)
    module = nn.RNN(40, 30).double()
    inputs = torch.randn(STEPS, 1, 40, dtype=torch.float64) + torch.randn(STEPS, SAMPLES, 40, dtype=torch.float64)
    read = lambda output: output.square().sum((1, 2))  # noqa: E731
    found = tt.examine(module, inputs, loss=lambda output, _: read(output[0]))["l0"].signal_to_noise
    expected = signal_to_noise(gram_of(naive.gradients_by_sample(module, inputs, read)[:2]))
    np.testing.assert_allclose(found.sel(lag=[0, 1]), expected, rtol=0.3)
    assert (found.sel(lag=[0, 1]) != expected).all()
