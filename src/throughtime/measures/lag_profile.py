"""The lag profile: how large the gradient is at a distance, and at what rate it decays."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from throughtime.measures.bootstrap import Bootstrap
from throughtime.measures.film import Film
from throughtime.measures.reel import NormMeasure, Reel

# Groups of losses that are resampled where not all are followed. Every group is itself evenly spread over the sequence,
# so that each has its part of every lag, and memory and cost do not grow with the losses (random groups: Wolter 2007,
# Introduction to Variance Estimation, 2.4). So many leave 31 degrees of freedom, 4 % from a normal distribution.
GROUPS = 32
# Numbers, one for every lag and draw of the bootstrap, that are looked at together.
NUMBERS_AT_ONCE = 2**18


@dataclass(frozen=True)
class Profile:
    """A lag profile with its decay rate.

    Args:
        lags: The lags, in steps.
        values: ln of the root mean square over loss steps and samples of |dl_t/ds_{t - lag}|, in nats. What a loss does
            not read of a sample at all counts nowhere: samples that have ended, and losses that are masked.
        interval: Its 95 % interval over samples and losses, see `throughtime.measures.bootstrap`; NaN where there is a
            single sample and every loss is followed, or a lag is seen from a single group of losses.
        decay_rate: Slope of `values` over lags from 0 on, in nats per step: negative where gradients vanish. NaN
            where the profile has fewer than two finite values.
        decay_rate_interval: Its 95 % interval over samples and losses.
    """

    lags: Tensor
    values: Float[Tensor, "state lag"]
    interval: Float[Tensor, "state lag 2"]
    decay_rate: Float[Tensor, " state"]
    decay_rate_interval: Float[Tensor, "state 2"]


class LagProfile(NormMeasure):
    """Collects, per sample, lag and group of losses, ln of the sum over loss steps of |dl_t/ds_{t - lag}|^2."""

    def __init__(self, film: Film) -> None:
        self._film = film
        (self._smallest, self._largest), self._lags = film.lag_range, film.lag_count
        self._groups = groups_of(film)
        self._group = torch.arange(film.sources) % self._groups
        shape = (len(film.states), self._groups * self._lags, film.batch)
        self._ln_sum = torch.full(shape, -torch.inf, dtype=torch.float64)
        # Whether a source reads a sample at all.
        self._read = torch.zeros(film.sources, film.batch, dtype=torch.bool)

    def reads(self, sources: Int[Tensor, " source"], read: Bool[Tensor, "source batch"]) -> None:
        """Take down which samples some sources read at all: what they do not read is left out of the mean."""
        self._read[sources] |= read

    def take(self, reel: Reel) -> None:
        """Add every row at its lag."""
        by_sample = self._film.lags_by_sample(reel.lags)
        lags, known = (reel.lags.unsqueeze(-1), None) if by_sample is None else by_sample
        index = self._group[reel.sources].unsqueeze(-1) * self._lags + lags - self._smallest
        for state, ln_square in enumerate(reel.ln_square.values()):
            every = index.expand_as(ln_square)
            added = ln_square if known is None else ln_square.masked_fill(~known, -torch.inf)
            total = self._ln_sum[state]
            highest = total.scatter_reduce(0, every, added, "amax")
            anchor = highest.masked_fill(highest == -torch.inf, 0.0)
            summed = (total - anchor).exp().scatter_add_(0, every, (added - anchor.gather(0, every)).exp())
            self._ln_sum[state] = summed.log() + anchor

    def ln_squares(self) -> tuple[Tensor, Float[Tensor, " lag"]]:
        """The lags, and ln of the sum over loss steps and samples of |dl_t/ds_{t - lag}|^2, of the last state."""
        return torch.arange(self._smallest, self._largest + 1), torch.logsumexp(self._by_group[-1], dim=(0, 2))

    def by_sample(self, lags: Tensor) -> Float[Tensor, "lag batch"]:
        """The profile of every sample alone, of the last state: ln of the root mean square over loss steps, in nats.

        NaN at lags that a sample does not have.

        Args:
            lags: Those of the profile itself.
        """
        ln_sum = torch.logsumexp(self._by_group[-1], dim=0)[lags - self._smallest]
        return (ln_sum - self._counts(lags).sum(0).log()) / 2

    def result(self, seed: int = 0) -> Profile:
        """The profile, its interval and its decay rate.

        Args:
            seed: Of the bootstrap.
        """
        lags, ln_sum = torch.arange(self._smallest, self._largest + 1), self._by_group
        # Lags below 0 are kept from the first one at which anything arrived, others as far as any loss looks back that
        # reads something.
        arrived = (ln_sum > -torch.inf).any(dim=3).any(dim=1).any(dim=0)
        looked_back = self._counts(lags).sum((0, 2)) > 0
        used = torch.where(lags < 0, arrived, looked_back | (lags == 0)).nonzero()
        some = slice(int(used[0]), int(used[-1]) + 1)
        lags, ln_sum = lags[some], ln_sum[:, :, some]
        counts = self._counts(lags)
        sums = _Sums.of(ln_sum, counts)
        values = sums.ln_rms(torch.ones(1, self._groups, self._film.batch, dtype=torch.float64))[..., 0]
        bootstrap = Bootstrap.drawn(self._film.batch, self._groups, self._film.followed, seed)
        weights, total = bootstrap.weights, counts.sum((0, 2))
        rate = decay_rate(lags, values, total)
        draws = weights.split(max(1, NUMBERS_AT_ONCE // values.numel()))
        rates = torch.cat([decay_rate(lags, sums.ln_rms(some).transpose(-1, -2), total) for some in draws], dim=-1)
        # As with the profile below: a draw without any of the samples that have a lag says nothing of it.
        rates = torch.where(rates.isnan(), rate.unsqueeze(-1), rates)
        # What some losses only say of the others is not in the errors.
        alone, told = torch.ones_like(weights[:1]), self._groups == 1 and self._film.batch > 1
        rate_errors = None
        if told:
            slope = _slope(lags, values, total)
            every = [sums.slope_errors(some, slope) for some in (alone, *draws)]
            rate_errors = every[0].squeeze(-1), torch.cat(every[1:], dim=-1)
        there = (counts > 0).double()
        samples = there.amax(0).sum(-1)
        degrees = bootstrap.degrees(there.amax(2).sum(0))
        degrees = torch.minimum(degrees, torch.where(samples > 1, samples, there.sum((0, 2))) - 1).expand_as(values)
        some_lags = torch.arange(len(lags)).split(max(1, NUMBERS_AT_ONCE // (len(values) * len(weights))))
        intervals = []
        for some in some_lags:
            at = sums.at(some)
            estimate, drawn = values[:, some], at.ln_rms(weights)
            # A draw without any of the samples that have a lag says nothing of it.
            drawn = torch.where(drawn.isnan(), estimate.unsqueeze(-1), drawn)
            # Not of the rates: what few losses say of far lags moves them by more than their first order.
            drawn = _nearer(drawn, estimate, bootstrap.spread(at.moves.unflatten(-1, (self._groups, -1))))
            errors = (at.errors(alone).squeeze(-1), at.errors(weights)) if told else None
            intervals.append(bootstrap.interval(drawn, estimate, degrees[:, some], errors))
        return Profile(
            lags,
            values,
            torch.cat(intervals, dim=1),
            rate,
            bootstrap.interval(rates, rate, degrees.amax(-1), rate_errors),
        )

    @property
    def _by_group(self) -> Float[Tensor, "state group lag batch"]:
        return self._ln_sum.unflatten(1, (self._groups, self._lags))

    def _counts(self, lags: Tensor) -> Float[Tensor, "group lag batch"]:
        """How many sources of every group have a state of a sample at each lag, and read the sample."""
        film = self._film
        at = (film.positions.unsqueeze(-1) if film.ends is None else film.ends.unsqueeze(0)).expand_as(self._read)
        counted = (at > 0) & (self._read if film.ends is None else True)
        by_step = torch.zeros(self._groups, film.steps + 1, film.batch, dtype=torch.float64)
        place = self._group.unsqueeze(-1), at.clamp(min=0), torch.arange(film.batch)
        by_step.index_put_(place, counted.double(), accumulate=True)
        # Those that stand so far behind the first state of a sample and not yet so far behind its last.
        before = torch.nn.functional.pad(by_step.cumsum(1), (0, 0, 1, 0))
        first, last = film.spans
        ends = ((lags.unsqueeze(-1) + end).clamp(0, film.steps + 1) for end in (first, last + 1))
        near, far = (before.gather(1, end.expand(self._groups, -1, -1)) for end in ends)
        counts = far - near
        # Where nothing at all is read, nothing arrives.
        return counts if counts.any() else torch.ones_like(counts)


def _nearer(
    draws: Float[Tensor, "*rest draw"], estimate: Float[Tensor, "*rest"], by: Float[Tensor, "*rest"]
) -> Float[Tensor, "*rest draw"]:
    """Draws moved towards the estimate, as far as they are finite."""
    moved = estimate.unsqueeze(-1) + by.unsqueeze(-1) * (draws - estimate.unsqueeze(-1))
    return torch.where(moved.isfinite(), moved, draws)


def groups_of(film: Film) -> int:
    """How many groups of losses are resampled: one where all are followed."""
    return 1 if film.followed == 1 else min(GROUPS, film.sources)


@dataclass(frozen=True)
class _Sums:
    """Sums of squares by group of losses and sample, to be weighted.

    Args:
        squares: On a scale of every state and lag.
        ln_scale: That scale.
        counts: How many sources every group has at each lag.
    """

    squares: Float[Tensor, "state lag group_batch"]
    ln_scale: Float[Tensor, "state lag"]
    counts: Float[Tensor, "group lag batch"]

    @classmethod
    def of(cls, ln_sum: Float[Tensor, "state group lag batch"], counts: Float[Tensor, "group lag batch"]) -> "_Sums":
        highest = ln_sum.amax(dim=(1, 3))
        anchor = highest.masked_fill(highest == -torch.inf, 0.0)
        squares = (ln_sum - anchor[:, None, :, None]).exp().permute(0, 2, 1, 3).flatten(2)
        return cls(squares, anchor, counts)

    def at(self, lags: Int[Tensor, " lag"]) -> "_Sums":
        """At some of the lags."""
        return replace(
            self, squares=self.squares[:, lags], ln_scale=self.ln_scale[:, lags], counts=self.counts[:, lags]
        )

    def ln_rms(self, weights: Float[Tensor, "draw group batch"]) -> Float[Tensor, "state lag draw"]:
        """ln of the root mean square, by the weights of every draw; NaN where these leave nothing."""
        summed = (self.squares @ weights.flatten(1).T).log() + self.ln_scale.unsqueeze(-1)
        return (summed - (self.counts.transpose(0, 1).flatten(1) @ weights.flatten(1).T).log()) / 2

    @property
    def moves(self) -> Float[Tensor, "state lag group_batch"]:
        """By how much every group of losses of every sample moves `ln_rms`, to first order."""
        counts = self.counts.transpose(0, 1).flatten(1)
        parts = self.squares / self.squares.sum(-1, keepdim=True) - counts / counts.sum(-1, keepdim=True)
        return (parts / 2).nan_to_num(0.0)

    def errors(self, weights: Float[Tensor, "draw 1 batch"]) -> Float[Tensor, "state lag draw"]:
        """The standard error of `ln_rms` over samples, to first order; of a single group of losses only.

        The relative variance of a ratio (Cochran 1977, Sampling Techniques, 2.11), halved by the logarithm of a root.
        """
        drawn, counts = weights.squeeze(1).T / weights.shape[-1], self.counts.squeeze(0)
        mean, variance = self.squares @ drawn, self.squares.square() @ drawn
        counted = counts @ drawn
        both = (self.squares * counts) @ drawn / (mean * counted)
        variance = variance / mean.square() - 2 * both + counts.square() @ drawn / counted.square()
        return (variance.clamp(min=0) / (weights.shape[-1] - 1)).sqrt() / 2

    def slope_errors(
        self, weights: Float[Tensor, "draw 1 batch"], slope: Float[Tensor, "state lag"]
    ) -> Float[Tensor, "state draw"]:
        """The standard error of a sum of `ln_rms` over the lags, weighted by `slope`, likewise."""
        drawn, counts = weights.squeeze(1).T / weights.shape[-1], self.counts.squeeze(0)
        by_lag = slope.unsqueeze(-1)
        # By how much each sample moves the sum; what moves all of them alike is no error.
        moved = torch.where(by_lag == 0, 0.0, by_lag / (self.squares @ drawn)).transpose(1, 2) @ self.squares / 2
        moved -= torch.where(by_lag == 0, 0.0, by_lag / (counts @ drawn)).transpose(1, 2) @ counts / 2
        mean = (drawn.T * moved).sum(-1)
        variance = (drawn.T * moved.square()).sum(-1) - mean.square()
        return (variance.clamp(min=0) / (weights.shape[-1] - 1)).sqrt()


def decay_rate(
    lags: Tensor, profile: Float[Tensor, "*rest lag"], counts: Float[Tensor, " lag"]
) -> Float[Tensor, "*rest"]:
    """Slope of the profile over the lags, in nats per step, by least squares weighted with the number of sources.

    Only lags from 0 on and finite values count. NaN with fewer than two of them.
    """
    values = profile.masked_fill(~profile.isfinite(), 0.0)
    return (_slope(lags, profile, counts) * values).sum(-1)


def _slope(
    lags: Tensor, profile: Float[Tensor, "*rest lag"], counts: Float[Tensor, " lag"]
) -> Float[Tensor, "*rest lag"]:
    """What every value of the profile is multiplied with in its slope; 0 where it does not count."""
    weights = (counts * (lags >= 0)).expand_as(profile) * profile.isfinite()
    x = lags - (weights * lags).sum(-1, keepdim=True) / weights.sum(-1, keepdim=True)
    found = weights * x / (weights * x.square()).sum(-1, keepdim=True)
    return found.masked_fill((weights > 0).sum(-1, keepdim=True) < 2, torch.nan)
