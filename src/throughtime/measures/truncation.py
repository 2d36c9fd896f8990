"""What a window of truncated BPTT leaves of the gradient, and which lags the gradient comes from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.cells import Named
from throughtime.measures.lag_bands import LagBands
from throughtime.measures.weight_terms import Terms


@dataclass(frozen=True)
class Truncation:
    """How the gradient of all weights of a recurrence is spread over the lags.

    Args:
        windows: K, in steps: the lags below K are kept.
        error: Relative error of the gradient truncated to a window, |G_K - G| / |G|. NaN where G is zero.
        lags: Every lag.
        share: The part of the full gradient that comes from a lag, <G_lag, G> / <G, G>; adds up to 1. Where lags are
            banded, a band's part is spread evenly over its lags.
    """

    windows: Int[Tensor, " window"]
    error: Float[Tensor, " window"]
    lags: Int[Tensor, " lag"]
    share: Float[Tensor, " lag"]


def truncation_of_states(lags: Int[Tensor, " lag"], ln_squares: Float[Tensor, " lag"]) -> Truncation:
    """The same where nothing is learned, of the derivatives with respect to the states themselves, at every lag.

    What lies at different lags are different numbers, so that squares add up: error^2 is the part of them left out.

    Args:
        lags: In increasing order.
        ln_squares: ln of the sum of their squares at every lag.
    """
    share = (ln_squares - torch.logsumexp(ln_squares, dim=0)).exp()
    distance = torch.maximum(lags, -lags)
    left_out = torch.zeros(int(distance.max()) + 2, dtype=share.dtype).index_add_(0, distance, share)
    error = left_out.flip(0).cumsum(0).flip(0).sqrt()[1:]
    return Truncation(torch.arange(1, len(error) + 1), error, lags, share)


def truncation(terms: Mapping[str, Terms], bands: LagBands, beyond: Named | None = None) -> Truncation:
    """Truncation error and share by lag, over all weights of a recurrence taken together.

    A lag below 0 belongs to the window of its size: what reaches forwards is cut like what reaches backwards.

    Args:
        terms: By weight.
        bands: Of the lags that were followed.
        beyond: By weight, what all further lags add up to, where there are any. Of windows among them nothing is told.
    """
    if beyond is not None:
        found = truncation(*_with_a_last(terms, bands, beyond))
        told = found.windows <= bands.end
        return Truncation(found.windows[told], found.error[told], found.lags[:-1], found.share[:-1])
    windows, place = torch.unique(bands.distance, return_inverse=True)
    # Only ratios are asked for, so that the scale may be any: the largest of all keeps them in range.
    reference = max((float(term.ln_scale.max()) for term in terms.values()), default=-math.inf)
    reference = 0.0 if reference == -math.inf else reference
    gram = torch.zeros(len(bands), len(bands), dtype=torch.float64)
    for term in terms.values():
        gram += term.gram(reference)
    full, projection = gram.sum(), gram.sum(1)
    # What lies at distance K or further is what a window of K leaves out; its square is a corner of the Gram matrix.
    by_distance = torch.zeros(len(windows), len(windows), dtype=torch.float64)
    by_distance.index_put_((place.unsqueeze(1), place.unsqueeze(0)), gram, accumulate=True)
    corners = by_distance.flip(0, 1).cumsum(0).cumsum(1).flip(0, 1).diagonal()
    error = (corners.clamp(min=0) / full).sqrt()
    largest = int((bands.distance + bands.widths).max())
    share = (projection / full / bands.widths).repeat_interleave(bands.widths)
    return Truncation(
        torch.cat([windows, torch.tensor([largest])])[1:],
        torch.cat([error, torch.zeros(1, dtype=torch.float64) * full])[1:],
        torch.arange(int(bands.starts[0]), bands.end),
        share,
    )


def _with_a_last(terms: Mapping[str, Terms], bands: LagBands, beyond: Named) -> tuple[dict[str, Terms], LagBands]:
    """With one band more, which holds everything beyond the others, as if that were a single lag."""
    extended = {
        name: replace(
            term,
            by_band=torch.cat([term.by_band, beyond[name].unsqueeze(0).to(term.by_band.dtype)]),
            ln_scale=torch.cat([term.ln_scale, term.ln_scale.new_zeros(1)]),
        )
        for name, term in terms.items()
    }
    return extended, LagBands(torch.cat([bands.starts, torch.tensor([bands.end])]), bands.end + 1)
