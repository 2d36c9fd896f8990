"""How well the truncation error is known from so many samples and losses."""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.measures.bootstrap import Bootstrap
from throughtime.measures.octaves import SampleGram

# In nats: a bound that is further from the error than this is 0 or infinite.
FAR_APART = 50.0


def truncation_interval(
    gram: SampleGram,
    windows: Int[Tensor, " window"],
    error: Float[Tensor, " window"],
    seed: int,
    followed: float = 1.0,
    losses: Int[Tensor, " window"] | None = None,
    not_followed: float = 0.0,
) -> Float[Tensor, "window 2"]:
    """The 95 % interval of the relative error of a truncated gradient, over samples and losses.

    A bootstrap draw weights the samples and the groups of losses, and with them what is left out and what there is:
    error(K)^2 = |sum over u of w_u sum over |t - i| >= K of g_u|^2 / |sum over u of w_u g_u|^2. What a sample and a
    group have in common counts by how far both weights are from 1 together, so that the variance is that of both, and
    too large only by what a single loss of a single sample has of its own. It is drawn at the windows that begin an
    octave; between them, the distance of the bounds from the error is interpolated, both in logarithms, and beyond the
    last it grows as the losses become fewer that look back so far. It covers what all losses of many more samples would
    give; with a single sample, what all of its losses would. Losses that are evenly spread are closer to all of them
    than random ones where what they send back changes slowly: there it is wider than need be.

    Where lags beyond the windows were not followed one by one, only what they add up to is known: the interval is wider
    by as much on both sides, as if that could point anywhere.

    NaN with a single sample and a single group of losses.

    Args:
        gram: The scalar products of the gradients of samples and groups of losses.
        windows: K.
        error: The error itself, of all samples and of the losses that were followed.
        seed: Of the draws.
        followed: The part of all losses that is followed.
        losses: How many of these look back K steps or further; None where all are followed.
        not_followed: What lies beyond the windows, as a part of the gradient.
    """
    bootstrap = Bootstrap.drawn(gram.batch, max(1, gram.groups), followed if gram.groups else 1.0, seed)
    octaves = _of_octaves(gram, bootstrap)
    known = octaves[:, 0].isfinite()
    if not known.any():
        return torch.full((len(windows), 2), torch.nan, dtype=torch.float64)
    # The first octave is distance 0, which no window leaves out.
    starts = gram.octaves.starts[1:][known]
    ln_windows, ln_starts = windows.double().log().numpy(), starts.double().log().numpy()
    # Beyond the ends, the value there.
    ends = [np.interp(ln_windows, ln_starts, end) for end in octaves[known].T.numpy()]
    distance = torch.from_numpy(np.stack(ends, axis=-1))
    if losses is not None:
        beyond = windows > starts[-1]
        # Where lags are cut, no window need begin the last octave.
        last = losses[torch.searchsorted(windows, starts[-1]).clamp(max=len(windows) - 1)]
        distance[beyond] *= (last / losses[beyond].clamp(min=1)).sqrt().unsqueeze(-1)
        # A single one tells nothing about the others.
        distance[beyond & (losses < 2), 0] = -FAR_APART
    told = distance.masked_fill(distance >= FAR_APART, torch.inf).exp()
    bounds = torch.where(error.unsqueeze(-1) == 0, 0.0, error.unsqueeze(-1) * told)
    return (bounds + torch.tensor([-not_followed, not_followed])).clamp(min=0)


def _of_octaves(gram: SampleGram, bootstrap: Bootstrap) -> Float[Tensor, "octave 2"]:
    """Where the bounds are from the error at the windows that begin the octaves from 1 on, in nats; NaN if unknown."""
    weights = torch.cat([bootstrap.samples, bootstrap.groups[:, : gram.groups] - 1], dim=1)
    squares = torch.einsum("du,kuv,dv->kd", weights, gram.from_here_on, weights).clamp(min=0)
    found = gram.from_here_on[:, : gram.batch, : gram.batch].sum((1, 2)).clamp(min=0)
    ln_error = _ln_ratio(found[1:], found[0])
    degrees = torch.full_like(ln_error, gram.batch - 1)
    if gram.groups:
        degrees = bootstrap.degrees(gram.seen[1:].double())
    bounds = bootstrap.interval(_ln_ratio(squares[1:], squares[0]), ln_error, degrees)
    # Chance adds to every square, once in the samples and once more in the draws: without it, little may be left out.
    chance = squares.mean(1) - found
    cleared = (squares - 2 * chance.unsqueeze(-1)).clamp(min=0)
    lowest, _ = bootstrap.central(_ln_ratio(cleared[1:], squares[0]), degrees)
    bounds[:, 0] = torch.minimum(bounds[:, 0], lowest)
    distance = (bounds - ln_error.unsqueeze(-1)).clamp(-FAR_APART, FAR_APART)
    distance[ln_error == -math.inf] = 0
    return distance.masked_fill((degrees < 1).unsqueeze(-1), torch.nan)


def _ln_ratio(squares: Float[Tensor, "*some"], of: Tensor) -> Float[Tensor, "*some"]:
    return (squares / of).log() / 2
