"""Distances in octaves, 0, 1, 2 to 3, 4 to 7, ..., and what resampling needs to know of what comes from each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Octaves:
    """The octaves of distances |t - i|.

    Args:
        starts: The smallest distance of every one: 0, 1, 2, 4, ...; it ends where the next one starts.
    """

    starts: Int[Tensor, " octave"]

    @classmethod
    def up_to(cls, farthest: int) -> Octaves:
        """Those that hold every distance from 0 to the farthest."""
        return cls(torch.tensor([0, *(2**power for power in range(farthest.bit_length()))]))

    def __len__(self) -> int:
        return len(self.starts)

    def of(self, distance: Int[Tensor, " one"]) -> Int[Tensor, " one"]:
        """The octave of every distance."""
        return torch.searchsorted(self.starts, distance, right=True) - 1


@dataclass(frozen=True)
class SampleGram:
    """The scalar products of what the samples add to the gradient, all weights together.

    Where not all losses are followed, groups of losses stand behind the samples as further units: what the losses of a
    group add in all samples, as a sample is what all losses add in it.

    Args:
        octaves: Of distances.
        own: <g_{k,b}, g_{k,c}> of what samples add from one octave, on the squared scale of the octave.
        from_here_on: The same of what units add from an octave or further, on one scale.
        resolution: Relative rounding of the sums behind the products.
        seen: How many groups of losses have any term in an octave or further.
    """

    octaves: Octaves
    own: Float[Tensor, "octave batch batch"]
    from_here_on: Float[Tensor, "octave unit unit"]
    resolution: float
    seen: Int[Tensor, " octave"]

    @classmethod
    def of(
        cls,
        octaves: Octaves,
        sums: Iterable[Float[Tensor, "octave batch _"]],
        ln_scale: Float[Tensor, " octave"],
        resolution: float,
        units: Iterable[Float[Tensor, "octave unit _"]] | None = None,
        seen: Bool[Tensor, "octave group"] | None = None,
    ) -> SampleGram:
        """From what the samples and the groups add to the gradient.

        Args:
            octaves: Of distances.
            sums: What every sample adds to the numbers of the gradient, in one or several parts, looked at one by one.
            ln_scale: What an octave is to be multiplied with, as a logarithm.
            resolution: Relative rounding of the sums.
            units: What every sample and every group of losses adds to others that stand for them; None without groups.
            seen: Whether a group of losses has any term in an octave.
        """
        relative = (ln_scale - ln_scale.max()).exp().nan_to_num().unsqueeze(-1).unsqueeze(-1)
        own = further = torch.zeros(1, dtype=torch.float64)
        for part in sums:
            own = own + _products(part)
            if units is None:
                further = further + _products(_from_here_on(part * relative))
        for part in units or ():
            further = further + _products(_from_here_on(part * relative))
        counted = torch.zeros(len(octaves), dtype=torch.long)
        if seen is not None:
            counted = seen.flip(0).cummax(0).values.flip(0).sum(1)
        return cls(octaves, own, further, resolution, counted)

    @property
    def batch(self) -> int:
        """Samples."""
        return self.own.shape[1]

    @property
    def groups(self) -> int:
        """Groups of losses."""
        return self.from_here_on.shape[1] - self.batch


def _products(part: Float[Tensor, "octave unit _"]) -> Float[Tensor, "octave unit unit"]:
    numbers = part.double()
    return numbers @ numbers.transpose(1, 2)


def _from_here_on(part: Float[Tensor, "octave unit _"]) -> Float[Tensor, "octave unit _"]:
    """Of an octave and all those behind it."""
    return part.flip(0).cumsum(0).flip(0)
