"""The reach and its interval: a network of scalars whose samples decay each at a rate of its own."""

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime.measures import reach
from throughtime.measures.octaves import Octaves, SampleGram
from throughtime.measures.truncation_interval import truncation_interval

LAGS, SAMPLES, WEIGHTS, SEEDS, RATE = 64, 12, 30, 200, 0.1
WINDOWS = np.arange(1, LAGS + 1)
STARTS = torch.tensor([0, 1, 2, 4, 8, 16, 32])
FRACTIONS = (0.8, 0.9, 0.95, 0.99)


def error_of(gradients):
    """Of (lag, weight), at the windows 1 .. LAGS."""
    left_out = gradients.flip(0).cumsum(0).flip(0).norm(dim=-1)
    return torch.cat([left_out[1:] / left_out[0], torch.zeros(1, dtype=torch.float64)])


def gram_of(gradients):
    """Of (lag, sample, weight)."""
    octaves = Octaves(STARTS)
    sums = torch.zeros(len(octaves), SAMPLES, WEIGHTS, dtype=torch.float64)
    sums.index_add_(0, octaves.of(torch.arange(LAGS)), gradients)
    return SampleGram.of(octaves, [sums], torch.zeros(len(octaves), dtype=torch.float64), 1e-12)


def decays(spread, samples, generator):
    """e^(-rate lag), (lag, sample)."""
    rates = RATE * torch.exp(spread * torch.randn(samples, generator=generator, dtype=torch.float64))
    return torch.exp(-rates * torch.arange(LAGS).unsqueeze(1))


@pytest.mark.parametrize("spread", [0.3, 0.6])
def test_the_interval_covers_what_many_samples_give(spread):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(WEIGHTS, generator=generator, dtype=torch.float64)
    error = error_of(decays(spread, 20_000, generator).mean(1, keepdim=True) * base).numpy()
    truth = {fraction: reach(WINDOWS, error, 1 - fraction) for fraction in FRACTIONS}
    covered = []
    for seed in range(SEEDS):
        sizes = 1 + 0.3 * torch.randn(SAMPLES, WEIGHTS, generator=generator, dtype=torch.float64)
        gradients = base * sizes * decays(spread, SAMPLES, generator).unsqueeze(-1)
        found = error_of(gradients.sum(1))
        bounds = truncation_interval(gram_of(gradients), torch.from_numpy(WINDOWS), found, seed).numpy()
        for fraction, right in truth.items():
            low, high = (reach(WINDOWS, bound, 1 - fraction) for bound in bounds.T)
            covered.append(low <= right <= high)
    assert 0.90 <= np.mean(covered) <= 0.99


def examined(samples, layer=None, **keywords):
    torch.manual_seed(0)
    layer = tt.init.forget_bias_(nn.GRU(2, 4), 2.0) if layer is None else layer
    inputs = torch.randn(30, samples, 2)
    return tt.examine(layer, inputs, loss=lambda output, _: output[0].square().sum((1, 2)), **keywords)


def test_the_interval_is_around_the_reach_and_wider_for_fewer_samples():
    widths = []
    for samples in (3, 30):
        exam, width = examined(samples), 0
        for fraction in FRACTIONS:
            (low, high), found = exam.reach_interval(fraction)["l0"], exam.reach(fraction)["l0"]
            assert low <= found <= high
            width += high - low
        widths.append(width)
    assert widths[1] < widths[0]


def test_from_some_losses_of_one_sample():
    """Half of the losses find what all of them do, with the farther lags or without."""
    for keywords in ({}, {"max_lag": 12}):
        some, every = examined(1, loss_steps=15, **keywords), examined(1)
        intervals = [some.reach_interval(fraction)["l0"] for fraction in FRACTIONS[:3]]
        for (low, high), fraction in zip(intervals, FRACTIONS, strict=False):
            assert low <= some.reach(fraction)["l0"] <= high
            # Beyond the largest lag, the reach is at least that.
            assert low <= min(every.reach(fraction)["l0"], keywords.get("max_lag", 30) + 1) <= high
            assert low < high


@pytest.mark.parametrize(
    ("samples", "keywords"), [(1, {}), (1, {"loss_steps": 1}), (3, {"layer": tt.ResetBeforeGRU(2, 4)})], ids=str
)
def test_there_is_none_where_nothing_can_be_said(samples, keywords):
    assert examined(samples, **keywords).reach_interval() == {"l0": None}


def test_a_fraction_that_is_none():
    with pytest.raises(ValueError, match="fraction: expected a number above 0 and below 1, found 1"):
        examined(2).reach_interval(1)
