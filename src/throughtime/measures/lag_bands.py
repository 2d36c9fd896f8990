"""Lags in bands: every lag by itself while they are few, wider bands further out, so that memory stays bounded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

# Once the lags are banded: up to which lag every one stands alone, and how many bands there are from there on to a
# factor of two in distance. From fine to coarse; the first is taken that has no more bands than are allowed.
GRIDS = ((32, 16), (32, 8), (16, 8), (16, 4), (8, 4), (8, 2), (4, 2), (4, 1), (2, 1))


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

        Otherwise single lags near 0, and further out bands on a logarithmic grid, with a single lag in every factor of
        two; as fine as `at_most` allows, or the coarsest there is.
        """
        if largest - smallest < at_most:
            return cls(torch.arange(smallest, largest + 1), largest + 1)
        grids = (cls._on_grid(smallest, largest, *grid) for grid in GRIDS)
        fitting = (bands for bands in grids if len(bands) <= at_most)
        return next(fitting, cls._on_grid(smallest, largest, *GRIDS[-1]))

    @classmethod
    def _on_grid(cls, smallest: int, largest: int, near: int, per_octave: int) -> LagBands:
        octaves = math.ceil(math.log2(max(largest, -smallest, near) / near)) + 1
        grid = {round(near * 2 ** (k / per_octave)) for k in range(per_octave * octaves)}
        alone = {*range(near), *(near * 2**octave for octave in range(octaves))}
        # A lag that stands alone starts a band, and so does what follows; the same on the other side of 0.
        ahead = {start for lag in alone for start in (lag, lag + 1)} | grid
        behind = {1 - start for start in ahead}
        starts = sorted(start for start in ahead | behind | {smallest} if smallest <= start <= largest)
        return cls(torch.tensor(starts), largest + 1)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def widths(self) -> Int[Tensor, " band"]:
        """The number of lags in every band."""
        return torch.diff(self.starts, append=torch.tensor([self.end]))

    @property
    def distance(self) -> Int[Tensor, " band"]:
        """The smallest |lag| of every band; none holds lags of both signs."""
        return torch.maximum(self.starts, 1 - self.starts - self.widths)

    @property
    def farthest(self) -> int:
        """The largest of these."""
        return int(self.distance.max())

    def of(self, lags: Tensor) -> Tensor:
        """The band of every lag."""
        return torch.searchsorted(self.starts, lags, right=True) - 1
