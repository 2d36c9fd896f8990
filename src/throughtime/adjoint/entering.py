"""What enters the adjoint of a recurrence directly: from the loss, or from a recurrence above."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from throughtime.adjoint.scaled import norms_of


class Entered(NamedTuple):
    """What enters at a step.

    Args:
        rows: Which rows.
        values: (row, batch, hidden).
        log_scale: The scales of the rows, (row, batch), in nats.
        norms: Of the values, (row, batch), where they are known.
    """

    rows: Tensor | slice
    values: Tensor
    log_scale: Tensor
    norms: Tensor | None = None


class Entering(ABC):
    """Direct contributions to the adjoint of one state, by step in reading order.

    Attributes:
        first: (source,), the last step in reading order at which a source contributes: the first that the film,
            played backwards, meets. -1 where it contributes nothing.
        state: The state that is entered.
    """

    first: Int[Tensor, " source"]
    state: str

    @abstractmethod
    def at(self, step: int, sources: Tensor) -> Entered | None:
        """What enters which rows of `sources`."""

    @abstractmethod
    def reads(self) -> Bool[Tensor, "source batch"]:
        """Whether anything of a source enters a sample, at whatever step."""

    @abstractmethod
    def last_by_sample(self) -> Int[Tensor, " batch"]:
        """The last step in reading order at which any source contributes to a sample; 0 where none does."""


@dataclass(frozen=True)
class AtOneStep(Entering):
    """Every source enters at a single step: a readout without memory, l_t = f(h_t).

    Args:
        direct: The direct derivatives, one per source.
        first: The step at which each enters; -1 for one that does not.
        state: The state that is entered.
        log_scale: The scales of the rows, in nats; 0 by default.
    """

    direct: Float[Tensor, "source batch hidden"]
    first: Int[Tensor, " source"]
    state: str = "h"
    log_scale: Float[Tensor, "source batch"] | None = None

    def at(self, step: int, sources: Tensor) -> Entered | None:
        """Those of the sources that enter at this step."""
        if step not in self._by_step:
            return None
        entering, values, log_scale, norms = self._by_step[step]
        count = sources.shape[0]
        new = slice(count - entering.shape[0], count)
        # Nearly always they are the ones that have just joined.
        if torch.equal(sources[new], entering):
            return Entered(new, values, log_scale, norms)
        rows, which = (sources.unsqueeze(1) == entering).nonzero(as_tuple=True)
        return Entered(rows, values[which], log_scale[which], norms[which]) if len(rows) else None

    def reads(self) -> Bool[Tensor, "source batch"]:
        """Where a direct derivative is not zero."""
        return (self.direct != 0).any(dim=-1).cpu() & (self.first >= 0).unsqueeze(-1)

    def last_by_sample(self) -> Int[Tensor, " batch"]:
        """Of all that enter it."""
        return (self.reads() * self.first.clamp(min=0).unsqueeze(-1)).amax(0)

    @cached_property
    def _by_step(self) -> dict[int, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """By step: which sources enter there, with what, on which scale, and the norms."""
        log_scale = self.log_scale
        if log_scale is None:
            shape = self.direct.shape[:2]
            log_scale = torch.zeros(shape, dtype=torch.float64, device=self.direct.device)
        order = torch.argsort(self.first, stable=True)
        steps, counts = torch.unique_consecutive(self.first[order], return_counts=True)
        direct = self.direct[order]
        by_step = (part.split(counts.tolist()) for part in (order, direct, log_scale[order], norms_of(direct)))
        return dict(zip(steps.tolist(), zip(*by_step, strict=True), strict=True))


class AtEveryStep(Entering):
    """Sources may enter at any step 1..T: from an attention, a convolution, a recurrence above.

    Args:
        values: One row per source, step and sample.
        log_scale: The scales of the rows, in nats.
        state: The state that is entered.
    """

    def __init__(
        self,
        values: Float[Tensor, "source time batch hidden"],
        log_scale: Float[Tensor, "source time batch"],
        state: str = "h",
    ) -> None:
        zero = (values == 0).all(dim=-1)
        self.values, self.log_scale, self.state = values, log_scale.masked_fill(zero, -torch.inf), state
        steps = torch.arange(1, values.shape[1] + 1, device=values.device)
        self.first = torch.where((~zero).any(dim=-1), steps, -1).max(dim=1).values.cpu()

    def at(self, step: int, sources: Tensor) -> Entered | None:
        """All sources; none at the initial state."""
        if step == 0:
            return None
        return Entered(slice(None), self.values[sources, step - 1], self.log_scale[sources, step - 1])

    def reads(self) -> Bool[Tensor, "source batch"]:
        """Where there is a row."""
        return (self.log_scale > -torch.inf).any(dim=1).cpu()

    def last_by_sample(self) -> Int[Tensor, " batch"]:
        """Of all sources."""
        contributes = (self.log_scale > -torch.inf).any(dim=0).cpu()
        steps = torch.arange(1, len(contributes) + 1)
        return (contributes * steps.unsqueeze(-1)).amax(0)
