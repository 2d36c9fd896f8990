"""The interval of the truncation error: how often it covers, and what it says where there is nothing to say."""

import numpy as np
import pytest
import torch
from torch import nn

import naive
import throughtime as tt
from throughtime.measures.octaves import Octaves, SampleGram
from throughtime.measures.source_sums import GROUPS
from throughtime.measures.truncation_interval import truncation_interval

BANDS, SAMPLES, WEIGHTS = 4, 12, 40


def gram_of(gradients, starts):
    """Of (band, sample, weight), on different scales."""
    ln_scale = torch.arange(len(gradients), dtype=torch.float64)
    return SampleGram.of(Octaves(starts), [gradients * (-ln_scale).exp()[:, None, None]], ln_scale, 1e-12)


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


def grouped(gradients):
    """Of (band, sample, loss, weight), the sums of all samples, and of all groups of losses behind them."""
    groups = [gradients[:, :, group::GROUPS].sum((1, 2)) for group in range(min(GROUPS, gradients.shape[2]))]
    return torch.cat([gradients.sum(2), torch.stack(groups, 1)], dim=1)


@pytest.mark.parametrize(("samples", "followed"), [(1, 10), (1, 30), (12, 20)])
def test_it_covers_what_all_losses_give(samples, followed):
    """Every loss has gradients of its own size, and so has every sample; some of 60 losses are followed."""
    generator, losses, starts, covered = torch.Generator().manual_seed(0), 60, torch.tensor([0, 1, 2, 4]), []
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    mean = normal(BANDS, 1, 1, WEIGHTS) * torch.tensor([1.0, 0.5, 0.2, 0.1], dtype=torch.float64)[:, None, None, None]
    for seed in range(200):
        by_loss = mean * (1 + 0.5 * normal(BANDS, 1, losses, WEIGHTS))
        by_sample = 0.3 * mean * normal(BANDS, samples, 1, WEIGHTS) * (samples > 1)
        truth = error_of(by_loss.sum(2))
        some = (by_loss + by_sample)[:, :, torch.randperm(losses, generator=generator)[:followed]]
        units = grouped(some)
        seen = torch.ones(BANDS, units.shape[1] - samples, dtype=torch.bool)
        scale = torch.zeros(BANDS, dtype=torch.float64)
        gram = SampleGram.of(Octaves(starts), [units[:, :samples]], scale, 1e-12, [units], seen)
        looking_back = torch.full((BANDS - 1,), followed)
        found = error_of(some.sum(2))
        interval = truncation_interval(gram, starts[1:], found, seed, followed / losses, looking_back)
        covered.append((interval[:, 0] <= truth) & (truth <= interval[:, 1]))
    share = torch.stack(covered).double().mean(0)
    assert (share >= 0.9).all() and share.mean() <= 0.99, share


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


@pytest.mark.parametrize(("steps", "followed", "samples"), [(9, 3, 2), (24, 20, 1)])
def test_some_losses_against_naive_autograd(steps, followed, samples, in_parts):
    """Those of a group are added up; a loss looks at later states too."""
    torch.manual_seed(0)
    module, inputs = nn.GRU(2, 3).double(), torch.randn(steps, samples, 2, dtype=torch.float64)
    read = lambda output: (output + 0.1 * output.flip(0)).square().sum((1, 2))  # noqa: E731
    in_parts()
    found = tt.examine(module, inputs, loss=lambda output, _: read(output[0]), loss_steps=followed)["l0"]
    labels = torch.tensor(found.loss_step.values) - 1
    terms, octaves = naive.terms_by_sample(module, inputs, read)[:, labels], Octaves.up_to(steps - 1)
    octave = octaves.of((labels[:, None] - torch.arange(steps)).abs().flatten()).view(followed, steps)
    in_octave = [(terms * (octave == k)[:, :, None]).sum(2) for k in range(len(octaves))]
    units = grouped(torch.stack(in_octave))
    seen = (units != 0).any(2)[:, samples:]
    scale = torch.zeros(len(octaves), dtype=torch.float64)
    gram = SampleGram.of(octaves, [units[:, :samples]], scale, 1e-12, [units], seen)
    windows = torch.tensor(found.window.values)
    farthest = torch.maximum(labels, steps - 1 - labels)
    looking_back = (farthest[:, None] >= windows).sum(0)
    error = torch.tensor(found.truncation_error.values)
    expected = truncation_interval(gram, windows, error, 0, followed / steps, looking_back)
    assert expected[: steps // 2].isfinite().all()
    np.testing.assert_allclose(found.truncation_error_interval, expected, rtol=1e-5)


def test_losses_are_resampled_where_there_is_a_single_sample():
    """All losses of a rough sequence, from half of them, in many sequences."""
    steps, covered = 24, []
    for seed in range(25):
        torch.manual_seed(seed)
        module = nn.RNN(2, 8)
        nn.init.normal_(module.weight_hh_l0, std=1.2 / 8**0.5)
        inputs, directions = torch.randn(steps, 1, 2), torch.randn(steps, 1, 8)
        loss = lambda output, targets: (output[0] * targets).sum((1, 2))  # noqa: E731
        whole = tt.examine(module, inputs, directions, loss)["l0"].truncation_error
        interval = tt.examine(module, inputs, directions, loss, loss_steps=12)["l0"].truncation_error_interval
        low, high = interval.transpose("bound", "window").values
        covered.append(float(((low <= whole) & (whole <= high))[:16].mean()))
    assert 0.90 <= np.mean(covered) <= 0.99, np.mean(covered)


def test_lags_that_were_not_followed_widen_it_by_all_that_they_are():
    whole, cut = examined(5), examined(5, max_lag=6)
    windows = cut.window.values
    beyond = float(cut.truncation_error[-1])
    assert windows[-1] == 7 and 0 < beyond < 0.1
    narrow = whole.truncation_error_interval.sel(window=windows)
    low, high = (cut.truncation_error_interval.sel(bound=bound) for bound in ("low", "high"))
    assert (low <= narrow.sel(bound="low")).all() and (narrow.sel(bound="high") <= high).all()
    assert (high - low <= narrow.sel(bound="high") - narrow.sel(bound="low") + 4 * beyond).all()


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


@pytest.mark.parametrize("keywords", [{}, {"max_lag": 5}, {"loss_steps": 1}], ids=str)
def test_where_nothing_can_be_said(keywords):
    assert examined(1, **keywords).truncation_error_interval.isnull().all()
