"""The ordinary autograd between recurrences: from the loss, or from a recurrence above, to the states below."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint.entering import AtEveryStep, AtOneStep, Entering
from throughtime.capture import Recurrence

# Sources whose vector-Jacobian products are taken in one call where the segment mixes steps.
SOURCES_AT_ONCE = 32


@dataclass(frozen=True)
class InputAdjoint:
    """The adjoint of a tensor at the end of a segment, one row per source, with the scales of the rows.

    Args:
        end: The tensor, in the user's graph.
        values: (source, *shape of the tensor).
        log_scale: (source, *all axes of the tensor but the last), nats; -inf for a row of zeros.
    """

    end: Tensor
    values: Tensor
    log_scale: Tensor


class Segment:
    """The graph from the states of one recurrence to one tensor further up.

    Args:
        recurrence: Whose states are at its start.
        end: The tensor at its end: all losses, or the input or an initial state of another recurrence.
    """

    def __init__(self, recurrence: Recurrence, end: Tensor) -> None:
        self._recurrence, self._end = recurrence, end
        self._leaves = {"h": recurrence.hidden, **recurrence.final}
        self._reached: list[str] = []
        if end.requires_grad:
            found = torch.autograd.grad(end.sum(), list(self._leaves.values()), retain_graph=True, allow_unused=True)
            self._reached = [state for state, gradient in zip(self._leaves, found, strict=True) if gradient is not None]

    @property
    def connected(self) -> bool:
        """Whether anything of the recurrence reaches the end."""
        return bool(self._reached)

    @property
    def single(self) -> bool:
        """Whether the end is one loss of the whole sequence."""
        return self._end.shape == (1,) and self._recurrence.steps > 1

    @cached_property
    def local(self) -> bool:
        """Whether position k of the end depends on position k of the states only.

        Positions are steps for the losses, and pairs of step and sample for a tensor above. For every bit of the
        number of a position, the gradient of all positions that have the bit, with random weights, must be exactly
        zero at all positions that have not, and the other way round: two positions that differ, differ in a bit.
        """
        hidden, axes = self._recurrence.hidden, min(self._end.dim(), 2)
        if self._end is hidden:
            return True
        shape = self._end.shape[:axes]
        if self._reached != ["h"] or shape != hidden.shape[:axes]:
            return False
        number = torch.arange(shape.numel(), device=hidden.device).reshape(shape)
        bits = max(shape.numel() - 1, 1).bit_length()
        has_bit = torch.stack([(number >> bit) % 2 == value for bit in range(bits) for value in (0, 1)])
        generator = torch.Generator().manual_seed(0)
        weights = torch.rand(self._end.shape, generator=generator).to(self._end) + 0.5
        gradient = self._pulled(weights * _columns(has_bit, self._end.dim() + 1))["h"]
        return bool(((gradient == 0) | _columns(has_bit, gradient.dim())).all())

    def from_losses(self, sources: Int[Tensor, " source"]) -> list[Entering]:
        """What enters directly from the losses: dl_t/dy_t * dy_t/dh_t of every source t, and the like."""
        recurrence, ones = self._recurrence, torch.ones_like(self._end)
        if self.local and not self.single:
            direct = torch.autograd.grad(self._end, recurrence.hidden, ones, retain_graph=True)[0][sources]
            position = recurrence.steps - sources if recurrence.reverse else sources + 1
            return [AtOneStep(direct, torch.where((direct == 0).flatten(1).all(1), -1, position))]
        one_hot = torch.nn.functional.one_hot(sources, len(self._end)).to(self._end.dtype)
        return self._entering(self._pulled(one_hot), torch.zeros(len(sources), dtype=torch.float64))

    def from_above(self, adjoint: InputAdjoint) -> list[Entering]:
        """What enters from the adjoint of the tensor at the end."""
        if self._end is self._recurrence.hidden:
            return self._entering({"h": adjoint.values}, adjoint.log_scale)
        if self.local:
            return self._entering(self._pulled(adjoint.values), adjoint.log_scale)
        # Steps or samples are mixed, so they need a common scale, and what is smaller than the largest by more than
        # the range of the dtype is lost against it.
        flat = adjoint.log_scale.flatten(1)
        largest = flat.max(dim=1).values
        factor = (adjoint.log_scale - _columns(_finite(largest), adjoint.log_scale.dim())).exp()
        return self._entering(self._pulled(adjoint.values * factor.to(adjoint.values.dtype).unsqueeze(-1)), largest)

    def _entering(self, pulled: dict[str, Tensor], log_scale: Tensor) -> list[Entering]:
        entering: list[Entering] = []
        for state, values in pulled.items():
            scale = _columns(log_scale, values.dim() - 1).expand(values.shape[:-1])
            if state == "h":
                read = self._recurrence.reading_order
                entering.append(AtEveryStep(read(values, 1), read(scale, 1)))
            else:
                reached = (values != 0).flatten(1).any(dim=1)
                first = torch.where(reached, self._recurrence.steps, -1)
                entering.append(AtOneStep(values, first, state, scale))
        return entering

    def _pulled(self, gradients: Tensor) -> dict[str, Tensor]:
        """The vector-Jacobian products with every row of `gradients`, by state that is reached."""
        leaves = [self._leaves[state] for state in self._reached]
        chunks = [batched_vjp(self._end, leaves, part) for part in gradients.split(SOURCES_AT_ONCE)]
        return dict(zip(self._reached, map(torch.cat, zip(*chunks, strict=True)), strict=True))


def batched_vjp(end: Tensor, starts: Sequence[Tensor], gradients: Float[Tensor, "source *end"]) -> tuple[Tensor, ...]:
    """Vector-Jacobian products with many vectors at once: one tensor (source, *shape) per start.

    Falls back to one call per vector where an operation cannot be batched.
    """
    with warnings.catch_warnings():
        # torch says when an operation is batched by a loop; that is the fallback we want.
        warnings.simplefilter("ignore")
        try:
            return torch.autograd.grad(end, starts, gradients, retain_graph=True, is_grads_batched=True)
        except RuntimeError:
            single = [torch.autograd.grad(end, starts, gradient, retain_graph=True) for gradient in gradients]
            return tuple(map(torch.stack, zip(*single, strict=True)))


def _columns(tensor: Tensor, axes: int) -> Tensor:
    """With as many axes of length 1 at the end as make `axes` in all."""
    return tensor.reshape(*tensor.shape, *[1] * (axes - tensor.dim()))


def _finite(log_scale: Tensor) -> Tensor:
    """-inf replaced by 0, to be subtracted without making NaN."""
    return log_scale.masked_fill(log_scale == -torch.inf, 0.0)
