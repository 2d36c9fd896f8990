"""The interval of the truncation error: how often it covers, and what it says where there is nothing to say."""

import numpy as np
import pytest
import torch
from torch import nn

import naive
import throughtime as tt
from throughtime.measures.sample_sums import SampleGram
from throughtime.measures.truncation_interval import truncation_interval

BANDS, SAMPLES, WEIGHTS = 4, 12, 40


def gram_of(gradients, starts):
    """Of (band, sample, weight), on different scales."""
    ln_scale = torch.arange(len(gradients), dtype=torch.float64)
    flat = (gradients * (-ln_scale).exp()[:, None, None]).flatten(0, 1)
    products = (flat @ flat.T).reshape(*gradients.shape[:2], *gradients.shape[:2])
    return SampleGram(starts, products, ln_scale, 1e-12)


def error_of(gradients):
    """At the windows that begin the bands but the first."""
    by_band = gradients.sum(1)
    left_out = by_band.flip(0).cumsum(0).flip(0).norm(dim=-1)
    return left_out[1:] / left_out[0]


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_it_covers_what_many_samples_give(spread):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(BANDS, 1, WEIGHTS, generator=generator, dtype=torch.float64)
    mean *= torch.tensor([1.0, 0.5, 0.2, 0.1], dtype=torch.float64)[:, None, None]
    truth, covered = error_of(mean), []
    starts = torch.tensor([0, 1, 2, 4])
    for seed in range(200):
        noise = torch.randn(BANDS, SAMPLES, WEIGHTS, generator=generator, dtype=torch.float64)
        gradients = mean * (1 + spread * noise)
        interval = truncation_interval(gram_of(gradients, starts), starts[1:], error_of(gradients), seed)
        covered.append((interval[:, 0] <= truth) & (truth <= interval[:, 1]))
    share = torch.stack(covered).double().mean(0)
    assert (share >= 0.9).all() and (share <= 0.995).all(), share


def examined(samples, **keywords):
    torch.manual_seed(0)
    inputs = torch.randn(30, samples, 2, dtype=torch.float64)
    module = nn.GRU(2, 4).double()
    return tt.examine(module, inputs, loss=lambda output, _: output[0].square().sum((1, 2)), **keywords)["l0"]


def test_against_what_naive_autograd_gives_every_sample():
    """At the windows that begin an octave; the draws are the same."""
    torch.manual_seed(0)
    module, inputs = nn.LSTM(2, 3).double(), torch.randn(17, 5, 2, dtype=torch.float64)
    read = lambda output: output.square().sum((1, 2))  # noqa: E731
    found = tt.examine(module, inputs, loss=lambda output, _: read(output[0]))["l0"]
    starts = torch.tensor([0, 1, 2, 4, 8, 16])
    gradients = naive.gradients_by_sample(module, inputs, read)
    octaves = torch.stack([part.sum(0) for part in gradients.tensor_split(starts[1:])])
    expected = truncation_interval(gram_of(octaves, starts), starts[1:], error_of(octaves), 0)
    interval = found.truncation_error_interval.sel(window=starts[1:].numpy())
    np.testing.assert_allclose(interval, expected, rtol=1e-6)


def test_an_examination_has_it_around_every_error():
    dataset = examined(5)
    low, high = dataset.truncation_error_interval.sel(bound="low"), dataset.truncation_error_interval.sel(bound="high")
    error = dataset.truncation_error
    known = error > 1e-12
    assert known.sum() > 10
    assert (low[known] < error[known]).all() and (error[known] < high[known]).all()
    # At the largest window nothing is left out, in whatever samples.
    np.testing.assert_array_equal(dataset.truncation_error_interval[-1], [0, 0])


def test_equal_samples_leave_it_without_width():
    inputs = torch.randn(20, 1, 2, dtype=torch.float64).expand(-1, 3, -1)
    dataset = tt.examine(nn.RNN(2, 3).double(), inputs, loss=lambda output, _: output[0].square().sum((1, 2)))["l0"]
    for bound in ("low", "high"):
        one = dataset.truncation_error_interval.sel(bound=bound)
        np.testing.assert_allclose(one, dataset.truncation_error, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("samples", "keywords"), [(1, {}), (3, {"max_lag": 5})], ids=str)
def test_where_nothing_can_be_said(samples, keywords):
    assert examined(samples, **keywords).truncation_error_interval.isnull().all()
