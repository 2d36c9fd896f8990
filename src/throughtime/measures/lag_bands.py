"""Lags in bands: every lag by itself while they are few, wider bands further out, so that memory stays bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

# Once the lags are banded: up to here every lag stands alone, from here on so many to a factor of two in distance.
NEAR = 32
PER_OCTAVE = 8


@dataclass(frozen=True)
class LagBands:
    """Band k covers the lags starts[k] to starts[k + 1] - 1.

    Args:
        starts: In increasing order.
        end: One past the largest lag.
    """

    starts: Int[Tensor, " band"]
    end: int

    @classmethod
    def covering(cls, smallest: int, largest: int, at_most: int) -> LagBands:
        """Bands from the smallest to the largest lag: single lags if there are no more than `at_most` of them.

        Otherwise single lags near 0 and on a logarithmic grid further out, and the bands between them.
        """
        if largest - smallest < at_most:
            return cls(torch.arange(smallest, largest + 1), largest + 1)
        octaves = math.log2(max(largest, -smallest, NEAR) / NEAR)
        far = {round(NEAR * 2 ** (k / PER_OCTAVE)) for k in range(int(PER_OCTAVE * octaves) + 1)}
        single = {sign * lag for lag in {*range(NEAR), *far} for sign in (1, -1)} | {smallest}
        starts = {start for lag in single for start in (lag, lag + 1) if smallest <= start <= largest}
        return cls(torch.tensor(sorted(starts)), largest + 1)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def widths(self) -> Int[Tensor, " band"]:
        """The number of lags in every band."""
        return torch.diff(self.starts, append=torch.tensor([self.end]))

    def of(self, lags: Tensor) -> Tensor:
        """The band of every lag."""
        return torch.searchsorted(self.starts, lags, right=True) - 1
