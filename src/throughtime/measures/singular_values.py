"""Singular values of ds_t/ds_{t-k}: which directions of a gradient are left after k steps, and how many of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import Pushforward
from throughtime.cells import Cell
from throughtime.unroll import Trajectory, Weights

# What an examination looks at: lags that are powers of two up to the largest, from evenly spread starts.
LARGEST_LAG, LARGEST_WINDOWS, LARGEST_SAMPLES = 64, 4, 2
# In products of two n x n matrices, what a decomposition costs; how many n^3 an examination may spend, and the largest
# lag that it follows in any case.
DECOMPOSITION, OPERATIONS, LEAST_LAG = 10, 2**28, 8


@dataclass(frozen=True)
class Transfer:
    """The singular values of ds_t/ds_{t-k}, mean over the windows and samples that were looked at.

    Args:
        lags: k.
        ln_values: ln of the singular values in decreasing order, in nats; -inf for one that is zero, NaN for one that
            is too small to be told from rounding beside the largest.
        stable_rank: The sum of their squares over the square of the largest: in how many directions anything is left;
            0 where nothing is.
    """

    lags: Int[Tensor, " lag"]
    ln_values: Float[Tensor, "lag singular_value"]
    stable_rank: Float[Tensor, " lag"]


def singular_values(cell: Cell, weights: Weights, trajectory: Trajectory) -> Transfer:
    """The singular values of ds_t/ds_{t-k} at lags k = 1, 2, 4, ..., as an examination has them.

    Args:
        cell: The equations.
        weights: Their weights.
        trajectory: Where the derivatives are taken.
    """
    read, longest = trajectory.read_longest(LARGEST_SAMPLES)
    products = OPERATIONS // trajectory.size**3
    lags = _lags(min(len(read), LARGEST_LAG), products)
    samples = min(len(longest), max(1, products // _cost(lags)))
    windows = min(LARGEST_WINDOWS, max(1, products // (samples * _cost(lags))))
    starts = torch.linspace(0, len(read) - lags[-1], windows, dtype=torch.float64).round().long().unique()
    found = []
    for start in starts.tolist():
        window = trajectory.at(read[start : start + lags[-1]], longest[:samples])
        jacobians = Pushforward(cell, weights, window, torch.float64).jacobians()
        found.append(ln_singular_values(jacobians, lags))
    return transfer(lags, torch.cat(found, dim=1))


def ln_singular_values(
    jacobians: Iterable[Float[Tensor, "batch state previous"]], lags: Sequence[int]
) -> Float[Tensor, "lag batch singular_value"]:
    """ln of the singular values of J_k ... J_2 J_1 at every lag k, in nats.

    Args:
        jacobians: J_1, J_2, ..., at least as many as the largest lag.
        lags: In increasing order.
    """
    product, ln_scale = None, torch.zeros(1, 1, dtype=torch.float64)
    found = []
    for lag, jacobian in zip(range(1, lags[-1] + 1), jacobians, strict=False):
        product = jacobian if product is None else jacobian @ product
        size = product.abs().amax((-2, -1), keepdim=True)
        size = torch.where(size == 0, 1.0, size)
        product, ln_scale = product / size, ln_scale + size.squeeze(-1).log()
        if lag in lags:
            found.append(_resolved(torch.linalg.svdvals(product)).log() + ln_scale)
    return torch.stack(found)


def transfer(lags: Sequence[int], ln_values: Float[Tensor, "lag batch singular_value"]) -> Transfer:
    """The means over all windows and samples, from the logarithms of their singular values."""
    relative = (2 * (ln_values - ln_values[..., :1])).exp()
    return Transfer(torch.tensor(lags), ln_values.mean(1), relative.nansum(-1).mean(-1))


def _resolved(values: Float[Tensor, "batch singular_value"]) -> Tensor:
    """NaN in place of what is no larger than rounding beside the largest."""
    rounding = values[:, :1] * values.shape[-1] * torch.finfo(values.dtype).eps
    return values.masked_fill((values <= rounding) & (values > 0), torch.nan)


def _lags(largest: int, products: int) -> list[int]:
    """Powers of two, while the products and decompositions that they need may be spent."""
    lags = [2**power for power in range(largest.bit_length())]
    while lags[-1] > LEAST_LAG and _cost(lags) > products:
        lags.pop()
    return lags


def _cost(lags: Sequence[int]) -> int:
    return lags[-1] + DECOMPOSITION * len(lags)
