"""Products with the step Jacobians by torch, wherever the tensors lie; on the CPU `throughtime.compiled` has a loop."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

# Numbers of the step Jacobians that are formed at once: those of many steps where they are small, which on a GPU takes
# no longer than those of one.
NUMBERS_AT_ONCE = 2**22


class TorchProducts:
    """What `throughtime.compiled.StepProducts` is.

    Args:
        slopes: By gate, (time, batch, hidden); one at least.
        weights: By gate, (hidden, projected).
        carry: (time, batch, hidden), where projected is hidden; None for zeros.
    """

    def __init__(self, slopes: Sequence[Tensor], weights: Sequence[Tensor], carry: Tensor | None) -> None:
        self._slopes, self._weights, self._carry = slopes, weights, carry
        self._steps_at_once = max(1, NUMBERS_AT_ONCE // (slopes[0].shape[1] * weights[0].numel()))
        # Then it takes no longer to form them than to go through the gates of a single vector.
        self.formed_together = self._steps_at_once > 1
        self._formed, self._jacobians = range(0), slopes[0].new_empty(0)

    def multiply(
        self,
        place: int,
        vectors: Float[Tensor, "batch row hidden"],
        into: Float[Tensor, "batch row projected"],
        adding: bool,
        formed: bool,
    ) -> None:
        """v J for all vectors v; the norms of what is written are not taken on the way.

        Args:
            place: The step, counted from 0.
            vectors: The vectors.
            into: Where to write it, contiguous.
            adding: Whether to add it to what is there.
            formed: Whether to form J, or to go through the weights of every gate.
        """
        if formed:
            jacobian = self._jacobian(place)
            into.baddbmm_(vectors, jacobian) if adding else torch.bmm(vectors, jacobian, out=into)
            return
        if self._carry is not None:
            direct = self._carry[place].unsqueeze(1)
            into.addcmul_(vectors, direct) if adding else torch.mul(vectors, direct, out=into)
        elif not adding:
            into.zero_()
        rows = into.view(-1, into.shape[-1])
        for slope, weight in zip(self._slopes, self._weights, strict=True):
            rows.addmm_((vectors * slope[place].unsqueeze(1)).flatten(0, 1), weight)

    def _jacobian(self, place: int) -> Float[Tensor, "batch hidden projected"]:
        """Of a step; those before it, which the film, played backwards, meets next, are formed with it."""
        if place not in self._formed:
            self._formed = range(max(0, place + 1 - self._steps_at_once), place + 1)
            self._jacobians = self._made(slice(self._formed.start, self._formed.stop))
        return self._jacobians[place - self._formed.start]

    def _made(self, steps: slice) -> Float[Tensor, "step batch hidden projected"]:
        """diag(carry) + sum over gates of diag(slope) W."""
        jacobians = self._slopes[0][steps].unsqueeze(-1) * self._weights[0]
        for slope, weight in zip(self._slopes[1:], self._weights[1:], strict=True):
            jacobians.addcmul_(slope[steps].unsqueeze(-1), weight)
        if self._carry is not None:
            jacobians.diagonal(dim1=-2, dim2=-1).add_(self._carry[steps])
        return jacobians
