"""The lag profile: how large the gradient is at a distance, and at what rate it decays."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint import Frame
from throughtime.measures.film import Film, Measure

# A bootstrap percentile interval needs about a thousand resamples for a stable 95 % (Efron, Tibshirani 1993, 14.3).
RESAMPLES = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Profile:
    """A lag profile with its decay rate.

    Args:
        lags: The lags, in steps.
        values: ln of the root mean square over loss steps and samples of |dl_t/ds_{t - lag}|, in nats.
        interval: Its 95 % bootstrap interval over the samples; NaN for a single sample.
        decay_rate: Slope of `values` over lags from 0 on, in nats per step: negative where gradients vanish. NaN
            where the profile has fewer than two finite values.
        decay_rate_interval: Its 95 % bootstrap interval over the samples.
    """

    lags: Tensor
    values: Float[Tensor, "state lag"]
    interval: Float[Tensor, "state lag 2"]
    decay_rate: Float[Tensor, " state"]
    decay_rate_interval: Float[Tensor, "state 2"]


class LagProfile(Measure[Frame]):
    """Collects, per sample and lag, the sum over loss steps of |dl_t/ds_{t - lag}|^2, as a logarithm."""

    def __init__(self, film: Film) -> None:
        self._film = film
        self._smallest, self._largest = film.lag_range
        lags = self._largest - self._smallest + 1
        self._ln_sum = torch.full((len(film.states), lags, film.batch), -torch.inf, dtype=torch.float64)

    def update(self, frame: Frame) -> None:
        """Add the frame's sources, each at its lag."""
        index = self._film.lags(frame) - self._smallest
        for state, ln_square in enumerate(frame.ln_square.values()):
            # Where every source has a lag of its own, this is a plain sum of two logarithms.
            unique, inverse = torch.unique(index, return_inverse=True)
            total = self._ln_sum[state, unique]
            highest = total.scatter_reduce(0, inverse.unsqueeze(-1).expand_as(ln_square), ln_square, "amax")
            anchor = highest.masked_fill(highest == -torch.inf, 0.0)
            summed = (total - anchor).exp().index_add_(0, inverse, (ln_square - anchor[inverse]).exp())
            self._ln_sum[state, unique] = summed.log() + anchor

    def ln_squares(self) -> tuple[Tensor, Float[Tensor, " lag"]]:
        """The lags, and ln of the sum over loss steps and samples of |dl_t/ds_{t - lag}|^2, of the last state."""
        return torch.arange(self._smallest, self._largest + 1), torch.logsumexp(self._ln_sum[-1], dim=-1)

    def result(self, seed: int = 0) -> Profile:
        """The profile, its interval and its decay rate.

        Args:
            seed: Of the bootstrap.
        """
        lags = torch.arange(self._smallest, self._largest + 1)
        # Lags below 0 are kept from the first one at which anything arrived.
        used = (lags >= 0) | (self._ln_sum > -torch.inf).any(dim=-1).any(dim=0)
        first = int(used.nonzero()[0])
        lags, ln_sum = lags[first:], self._ln_sum[:, first:]
        counts = self._counts(lags)
        values = _ln_rms(ln_sum, torch.ones(1, self._film.batch, dtype=torch.float64), counts)
        resampled = _ln_rms(ln_sum, self._resamples(seed), counts)
        rates = decay_rate(lags, resampled, counts)
        if self._film.batch == 1:
            resampled, rates = resampled * torch.nan, rates * torch.nan
        return Profile(
            lags,
            values[0],
            interval(resampled),
            decay_rate(lags, values, counts)[0],
            interval(rates),
        )

    def _counts(self, lags: Tensor) -> Float[Tensor, " lag"]:
        """How many sources have a state at each lag."""
        steps = self._film.positions.unsqueeze(-1) - lags
        return ((steps >= self._film.begins) & (steps <= self._film.steps)).sum(0).double()

    def _resamples(self, seed: int) -> Float[Tensor, "draw batch"]:
        """How often each sample is drawn."""
        generator = torch.Generator().manual_seed(seed)
        batch = self._film.batch
        drawn = torch.randint(batch, (RESAMPLES, batch), generator=generator)
        return torch.nn.functional.one_hot(drawn, batch).sum(1).double()


def _ln_rms(
    ln_sum: Float[Tensor, "state lag batch"], weights: Float[Tensor, "draw batch"], counts: Float[Tensor, " lag"]
) -> Float[Tensor, "draw state lag"]:
    highest = ln_sum.max(dim=-1, keepdim=True).values
    anchor = highest.masked_fill(highest == -torch.inf, 0.0)
    summed = torch.einsum("slb,db->dsl", (ln_sum - anchor).exp(), weights).log() + anchor.squeeze(-1)
    return (summed - (weights.sum(-1)[:, None] * counts).log()[:, None, :]) / 2


def decay_rate(
    lags: Tensor, profile: Float[Tensor, "draw state lag"], counts: Float[Tensor, " lag"]
) -> Float[Tensor, "draw state"]:
    """Slope of the profile over the lags, in nats per step, by least squares weighted with the number of sources.

    Only lags from 0 on and finite values count. NaN with fewer than two of them.
    """
    weights = (counts * (lags >= 0)).expand_as(profile) * profile.isfinite()
    values = profile.masked_fill(~profile.isfinite(), 0.0)
    total = weights.sum(-1, keepdim=True)
    x = lags - (weights * lags).sum(-1, keepdim=True) / total
    slope = (weights * x * values).sum(-1) / (weights * x.square()).sum(-1)
    return slope.masked_fill((weights > 0).sum(-1) < 2, torch.nan)


def interval(draws: Float[Tensor, "draw *rest"]) -> Float[Tensor, "*rest 2"]:
    """The central 95 % of the draws; an infinite bound stays infinite."""
    tail = (1 - COVERAGE) / 2
    ordered = draws.sort(dim=0).values
    last = draws.shape[0] - 1
    return torch.stack([ordered[round(tail * last)], ordered[round((1 - tail) * last)]], dim=-1)
