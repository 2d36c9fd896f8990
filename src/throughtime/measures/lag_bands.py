"""Lags in bands: every lag by itself while they are few, wider bands further out, so that memory stays bounded."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

# Single lags per factor of two in distance, once the lags are banded.
PER_OCTAVE = 16


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

        Otherwise single lags on a logarithmic grid, about PER_OCTAVE to an octave, and the bands between them.
        """
        if largest - smallest < at_most:
            return cls(torch.arange(smallest, largest + 1), largest + 1)
        grid = {0, smallest}
        lag = 1.0
        while lag <= max(largest, -smallest):
            grid |= {sign * round(lag) for sign in (1, -1)}
            lag *= 2 ** (1 / PER_OCTAVE)
        starts = sorted(start for single in grid for start in (single, single + 1) if smallest <= start <= largest)
        return cls(torch.tensor(sorted(set(starts))), largest + 1)

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def widths(self) -> Int[Tensor, " band"]:
        """The number of lags in every band."""
        return torch.diff(self.starts, append=torch.tensor([self.end]))

    def of(self, lags: Tensor) -> Tensor:
        """The band of every lag."""
        return torch.searchsorted(self.starts, lags, right=True) - 1
