"""What enters the adjoint of a recurrence directly: from the loss, or from a recurrence above."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


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
    def at(self, step: int, sources: Tensor) -> tuple[Tensor | slice, Tensor, Tensor] | None:
        """Which rows of `sources` are entered, with what (row, batch, hidden), and the log scales (row, batch)."""


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

    def at(self, step: int, sources: Tensor) -> tuple[Tensor, Tensor, Tensor] | None:
        """Those of the sources that enter at this step."""
        rows = (self.first[sources] == step).nonzero().squeeze(-1)
        if not len(rows):
            return None
        values = self.direct[sources[rows]]
        if self.log_scale is not None:
            return rows, values, self.log_scale[sources[rows]]
        return rows, values, torch.zeros(values.shape[:2], dtype=torch.float64, device=values.device)


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
        self.first = torch.where((~zero).any(dim=-1), steps, -1).max(dim=1).values

    def at(self, step: int, sources: Tensor) -> tuple[slice, Tensor, Tensor] | None:
        """All sources; none at the initial state."""
        if step == 0:
            return None
        return slice(None), self.values[sources, step - 1], self.log_scale[sources, step - 1]
