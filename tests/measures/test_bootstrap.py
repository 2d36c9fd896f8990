"""Weights that reproduce what is known of means, and intervals that cover what all losses of many samples give."""

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import throughtime as tt
from throughtime.measures.bootstrap import RESAMPLES, Bootstrap
from throughtime.measures.lag_profile import _slope, _Sums, decay_rate

STEPS, CLASSES, HIDDEN, MANY = 24, 8, 16, 300


def drawn(batch: int, groups: int, followed: float) -> Bootstrap:
    return Bootstrap.drawn(batch, groups, followed, seed=0)


@pytest.mark.parametrize(("batch", "groups", "followed"), [(12, 1, 1.0), (1, 12, 0.25), (1, 12, 0.9)])
def test_the_variance_of_a_mean_is_that_of_a_sample_without_replacement(batch, groups, followed):
    """s² / n for samples, (1 - f) s² / n for losses: Cochran 1977, Sampling Techniques, 2.20."""
    values = torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    means = (drawn(batch, groups, followed).weights.flatten(1) * values).mean(1)
    free = 1 - followed if groups > 1 else 1.0
    # The variance of RESAMPLES draws has a standard error of sqrt(2 / RESAMPLES) of it.
    assert float(means.var() / (free * values.var() / 12)) == pytest.approx(1, abs=4 * (2 / RESAMPLES) ** 0.5)


def test_once_every_loss_is_followed_losses_contribute_nothing():
    assert torch.equal(drawn(5, 7, 1.0).groups, torch.ones(RESAMPLES, 7, dtype=torch.float64))


def test_the_interval_of_a_mean_is_students():
    values = torch.randn(8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    draws = (drawn(8, 1, 1.0).samples * values).mean(1)
    low, high = Bootstrap.interval(draws[None], values.mean()[None], torch.tensor([7.0]))[0].tolist()
    expected = stats.t.interval(0.95, 7, loc=values.mean(), scale=values.std() / 8**0.5)
    assert (low, high) == pytest.approx(expected, abs=0.25 * (expected[1] - expected[0]))
    # From the standard deviation of the draws themselves, it is a part of the hull to every digit.
    half = stats.t.ppf(0.975, 7) * float((draws - values.mean()).square().mean().sqrt())
    assert low <= float(values.mean()) - half * (1 - 1e-9) and high >= float(values.mean()) + half * (1 - 1e-9)


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_intervals_from_few_samples_cover_the_mean_of_many(samples):
    """ln of the mean of log-normal squares, which is half their variance."""
    seeds, sigma = 1000, 0.5
    values = (sigma * torch.randn(seeds, samples, generator=torch.Generator().manual_seed(2)).double()).exp()
    draws = (values @ drawn(samples, 1, 1.0).samples.T / samples).log()
    low, high = Bootstrap.interval(draws, values.mean(1).log(), torch.full((seeds,), samples - 1.0)).T
    covered = (low <= sigma**2 / 2) & (sigma**2 / 2 <= high)
    assert 0.90 <= float(covered.double().mean()) <= 0.99


def test_nothing_is_said_of_a_single_unit():
    one = Bootstrap.interval(torch.zeros(2, RESAMPLES), torch.zeros(2), drawn(1, 1, 1.0).degrees(torch.ones(2)))
    assert one.isnan().all()
    assert drawn(1, 6, 0.5).degrees(torch.tensor([1.0, 2.0, 6.0])).tolist() == [0, 1, 5]
    assert drawn(4, 6, 0.5).degrees(torch.tensor([1.0, 2.0, 6.0])).tolist() == [0, 1, 3]


class Tagger(nn.Module):
    """An untrained network on random symbols."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding, self.layer = nn.Embedding(CLASSES, HIDDEN), nn.GRU(HIDDEN, HIDDEN)
        self.readout = nn.Linear(HIDDEN, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout(self.layer(self.embedding(inputs))[0])


def loss(output: Tensor, targets: Tensor) -> Tensor:
    losses = nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view_as(targets).sum(1)


@pytest.mark.parametrize(("batch", "followed"), [(12, 12), (6, "all")])
def test_intervals_cover_what_all_losses_of_many_samples_give(batch, followed):
    """The lag profile, where at least three losses see the lag, and the decay rate: fresh samples, half the losses."""
    model, seeds = Tagger(), 60
    inputs, targets = torch.randint(CLASSES, (2, STEPS, MANY), generator=torch.Generator().manual_seed(1))
    whole = tt.examine(model, inputs, targets, loss)["layer.l0"]
    lags, rates = [], []
    for seed in range(seeds):
        some = torch.randperm(MANY, generator=torch.Generator().manual_seed(seed))[:batch]
        part = tt.examine(model, inputs[:, some], targets[:, some], loss, loss_steps=followed, seed=seed)["layer.l0"]
        low, high = part.lag_profile_interval[0, : STEPS - 6].transpose("bound", "lag").values
        truth = whole.lag_profile[0, : STEPS - 6].values
        lags.append(float(((low <= truth) & (truth <= high)).mean()))
        low, high = part.decay_rate_interval[0].values
        rates.append(low <= float(whole.decay_rate[0]) <= high)
    assert 0.90 <= sum(lags) / seeds <= 0.99, sum(lags) / seeds
    assert 0.90 <= sum(rates) / seeds <= 0.99, sum(rates) / seeds


@pytest.mark.parametrize("by_sample", [False, True])
def test_standard_errors_are_those_of_the_derivatives(by_sample):
    """To first order: what every sample's weight moves, squared and summed; against autograd."""
    batch, lags = 7, 5
    generator = torch.Generator().manual_seed(0)
    ln_sum = torch.randn(2, 1, lags, batch, dtype=torch.float64, generator=generator)
    counts = torch.randint(1, 9, (1, lags, batch if by_sample else 1), generator=generator).double()
    counts = counts.expand(1, lags, batch)
    sums, at = _Sums.of(ln_sum, counts), torch.arange(lags)
    weights = drawn(batch, 1, 1.0).weights[:3].requires_grad_()
    profile = sums.ln_rms(weights)
    rates = decay_rate(at, profile.transpose(-1, -2), counts.sum((0, 2)))

    def error(quantity, draw):
        (moved,) = torch.autograd.grad(quantity, weights, retain_graph=True)
        # A sample that is drawn twice moves it twice.
        mean = (weights[draw, 0] * moved[draw, 0]).sum() / batch
        return ((weights[draw, 0] * (moved[draw, 0] - mean).square()).sum() * batch / (batch - 1)).sqrt()

    slope = _slope(at, profile[..., 0], counts.sum((0, 2)))
    found, of_slope = sums.errors(weights), sums.slope_errors(weights, slope)
    for draw in range(3):
        for state in range(2):
            for lag in range(lags):
                torch.testing.assert_close(found[state, lag, draw], error(profile[state, lag, draw], draw))
            torch.testing.assert_close(of_slope[state, draw], error(rates[state, draw], draw))


@pytest.mark.parametrize("of", ["samples", "groups", "each by itself", "all"])
def test_draws_spread_as_the_estimate_does(of):
    """The mean over samples and groups of losses: its variance is known, and that of the draws is made the same."""
    batch, groups, followed = 40, 60, 0.25
    variances = {"samples": 1 / batch, "groups": (1 - followed) / groups, "each by itself": 81 / (batch * groups)}
    bootstrap, found, parts = drawn(batch, groups, followed), [], []
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        drawn_of = {
            "samples": torch.randn(1, batch, dtype=torch.float64, generator=generator),
            "groups": torch.randn(groups, 1, dtype=torch.float64, generator=generator),
            "each by itself": 9 * torch.randn(groups, batch, dtype=torch.float64, generator=generator),
        }
        values = (sum(drawn_of.values()) if of == "all" else drawn_of[of]).expand(groups, batch)
        parts.append(float(bootstrap.spread((values - values.mean()) / values.numel())) ** 2)
        found.append(float((bootstrap.weights * values).mean((1, 2)).var()) * parts[-1])
    # Of a noisy difference the larger of two is taken, which leans to the wide side.
    assert sum(found) / 50 == pytest.approx(variances.get(of, sum(variances.values())), rel=0.15)
    if of == "each by itself":
        # The draws themselves spread 2.5 times as far.
        assert sum(parts) / 50 == pytest.approx(1 / (1 + 2 * (1 - followed)), rel=0.15)


def test_where_all_losses_are_followed_draws_are_as_they_are():
    bootstrap = drawn(5, 1, 1.0)
    assert bootstrap.spread(torch.randn(3, 1, 5, dtype=torch.float64)).eq(1).all()
