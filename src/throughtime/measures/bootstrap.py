"""Intervals by resampling: over the samples, and over the losses that were followed where not all were.

What an interval is to cover is the answer that all losses of the sequence would give, on as many samples of the same
kind as one likes; with a single sample, the answer that all losses of that sample would give. So losses count as drawn
from the finite number that there are, and contribute nothing once all of them are followed; samples always contribute.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy import special
from torch import Tensor

# A bootstrap percentile interval needs about a thousand resamples for a stable 95 % (Efron, Tibshirani 1993, 14.3).
RESAMPLES = 1000
COVERAGE = 0.95
# Draws from three samples may all be of one and have no error: the least that counts, as a part of that of all samples.
LEAST_ERROR = 0.25
# How many times as far as the others the bootstrap-t may reach.
AT_MOST = 2.0


@dataclass(frozen=True)
class Bootstrap:
    """Random weights of samples and of groups of losses, each 1 on average.

    One unit fewer is drawn than there is, and scaled up, which makes the variance of a mean unbiased; the weights of
    groups are pulled towards 1 by the part that was followed (Rao, Wu 1988, Resampling inference with complex survey
    data, section 2). Drawing both at once is the pigeonhole bootstrap, whose variance is never too small on average
    (Owen 2007, The pigeonhole bootstrap, theorem 3).

    Args:
        samples: By draw.
        groups: By draw; all 1 where every loss is followed.
        followed: The part of all losses that is followed.
    """

    samples: Float[Tensor, "draw batch"]
    groups: Float[Tensor, "draw group"]
    followed: float = 1.0

    @classmethod
    def drawn(cls, batch: int, groups: int, followed: float, seed: int) -> Bootstrap:
        """The weights.

        Args:
            batch: Samples.
            groups: Of losses.
            followed: The part of all losses that is followed.
            seed: Of the draws.
        """
        generator = torch.Generator().manual_seed(seed)
        of_groups = 1 + (1 - followed) ** 0.5 * (_weights(groups, generator) - 1)
        return cls(_weights(batch, generator), of_groups, followed)

    @property
    def weights(self) -> Float[Tensor, "draw group batch"]:
        """Of every sample in every group."""
        return self.groups.unsqueeze(2) * self.samples.unsqueeze(1)

    def spread(self, moves: Float[Tensor, "*rest group batch"]) -> Float[Tensor, "*rest"]:
        """How wide an estimate spreads, as a part of what the draws do: what a group and a sample have to themselves is
        in these too often.

        Let samples, groups, and each of both by itself give the variances a, b and c of an estimate. Drawing samples
        finds a + c, drawing groups (1 - f) (b + c), where a part f of the losses is followed, and drawing both finds
        these and another (1 - f) c; but the estimate has a + (1 - f) b + c, which is the two less (1 - f) c (Cameron,
        Gelbach, Miller 2011, Robust inference with multiway clustering, section 2.1; Owen 2007, theorem 2).

        Args:
            moves: By how much every one moves the estimate, to first order; they add up to 0.
        """
        batch = moves.shape[-1]
        if moves.shape[-2] == 1 or batch == 1:
            return torch.ones(moves.shape[:-2], dtype=moves.dtype)
        left = 1 - self.followed
        seen = (moves != 0).any(-1, keepdim=True)
        there = seen.sum((-2, -1)).clamp(min=2)
        per_sample, per_group = batch / (batch - 1), left * there / (there - 1)
        of_sample, of_group = moves.sum(-2, keepdim=True), moves.sum(-1, keepdim=True)
        alone = (moves - of_sample / there[..., None, None] - of_group / batch) * seen
        samples = per_sample * of_sample.square().sum((-2, -1))
        groups = per_group * of_group.square().sum((-2, -1))
        both = per_sample * per_group * alone.square().sum((-2, -1))
        found = torch.maximum(samples + groups - both, torch.maximum(samples, groups))
        return (found / (samples + groups + both)).sqrt().nan_to_num(1.0)

    def degrees(self, groups: Float[Tensor, "*rest"]) -> Float[Tensor, "*rest"]:
        """The degrees of freedom of what is known from so many groups of losses: those of the scarcer unit.

        0 where nothing varies, or a single group tells nothing about the others.
        """
        samples = self.samples.shape[1] - 1
        every = bool((self.groups == 1).all()) and self.groups.shape[1] == 1
        if every:
            return torch.full_like(groups, samples)
        return (groups - 1).clamp(min=0, max=samples or None)

    @staticmethod
    def interval(
        draws: Float[Tensor, "*rest draw"],
        estimate: Float[Tensor, "*rest"],
        degrees: Float[Tensor, "*rest"],
        errors: tuple[Float[Tensor, "*rest"], Float[Tensor, "*rest draw"]] | None = None,
    ) -> Float[Tensor, "*rest 2"]:
        """The 95 % interval of an estimate from what the draws gave; NaN without a degree of freedom.

        The hull of three: the central draws, their mirror image at the estimate, and Student's interval from their
        standard deviation. The logarithm of a mean of squares lies the lower the fewer samples there are, since few of
        them hold the rare large ones; the draws lie as much lower again, which the mirror image makes good (Davison,
        Hinkley 1997, section 5.2). Draws from two or three samples never leave these samples, and would cover what they
        should half of the time; Student's interval does leave them. An infinite bound stays infinite.

        Where standard errors are known, of a fourth: the bootstrap-t, in which a draw counts by how many errors of its
        own it is away (Davison, Hinkley 1997, section 5.2.1). It is the one that is long where few samples are large.

        Args:
            draws: What they gave.
            estimate: Of all samples.
            degrees: Of freedom.
            errors: The standard error of the estimate, and of every draw.
        """
        low, high = Bootstrap.central(draws, degrees)
        mirrored = [torch.where(one.isfinite(), 2 * estimate - one, one) for one in (high, low)]
        distance = torch.where(draws.isfinite(), draws - estimate.unsqueeze(-1), 0.0)
        students = _students(degrees) * distance.square().mean(-1).sqrt()
        lowest, highest = [low, mirrored[0], estimate - students], [high, mirrored[1], estimate + students]
        if errors is not None:
            own, of_draws = errors
            away = distance / of_draws.maximum(LEAST_ERROR * own.unsqueeze(-1))
            fewest, most = _central(torch.where(away.isfinite(), away, 0.0))
            # Where one sample is most of the mean, a draw without it is any number of its own small errors away.
            down = AT_MOST * (estimate - torch.stack(lowest).amin(0))
            up = AT_MOST * (torch.stack(highest).amax(0) - estimate)
            ends = estimate - torch.minimum(most * own, down), estimate + torch.minimum(-fewest * own, up)
            # Of nothing at all, there is no error.
            for bounds, end in zip((lowest, highest), ends, strict=True):
                bounds.append(torch.where(end.isfinite(), end, estimate))
        hull = torch.stack([torch.stack(lowest).amin(0), torch.stack(highest).amax(0)], dim=-1)
        return hull.masked_fill((degrees < 1).unsqueeze(-1), torch.nan)

    @staticmethod
    def central(
        draws: Float[Tensor, "*rest draw"], degrees: Float[Tensor, "*rest"]
    ) -> tuple[Float[Tensor, "*rest"], Float[Tensor, "*rest"]]:
        """The ends of the central draws.

        How central they are follows Student's t (Hesterberg 2015, What teachers should know about the bootstrap,
        section 3.3).
        """
        tail = special.ndtr(-_students(degrees).numpy())
        # Several times as fast as torch's.
        ordered = torch.from_numpy(np.sort(draws.numpy(), axis=-1))
        last = draws.shape[-1] - 1
        place = (torch.from_numpy(tail) * last).round().long()
        low, high = (ordered.gather(-1, one.unsqueeze(-1)).squeeze(-1) for one in (place, last - place))
        return low, high


def _central(draws: Float[Tensor, "*rest draw"]) -> tuple[Float[Tensor, "*rest"], Float[Tensor, "*rest"]]:
    """The ends of the central 95 % of the draws."""
    last = draws.shape[-1] - 1
    place = round((1 - COVERAGE) / 2 * last)
    # NumPy sorts all of it faster than it finds the two.
    ordered = np.sort(draws.numpy(), axis=-1)
    return torch.from_numpy(ordered[..., place].copy()), torch.from_numpy(ordered[..., last - place].copy())


def _students(degrees: Float[Tensor, "*rest"]) -> Float[Tensor, "*rest"]:
    """How many standard deviations on either side Student's distribution has its central part within."""
    return torch.from_numpy(special.stdtrit(degrees.double().clamp(min=1).numpy(), (1 + COVERAGE) / 2))


def _weights(units: int, generator: torch.Generator) -> Float[Tensor, "draw unit"]:
    if units == 1:
        return torch.ones(RESAMPLES, 1, dtype=torch.float64)
    drawn = torch.randint(units, (RESAMPLES, units - 1), generator=generator)
    counts = torch.zeros(RESAMPLES, units, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64)) * (units / (units - 1))
