"""The step pushforward: from a change of s_{i-1}, or of x_i, to the change of s_i."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from throughtime.cells import Cell, derive
from throughtime.unroll import Trajectory, Weights

# From the changes of s_{i-1}, (batch, state, column), to those of s_i: the product with the step Jacobian.
Push = Callable[[Float[Tensor, "batch state column"]], Float[Tensor, "batch state column"]]


class Pushforward:
    """The step pushforwards of one recurrence along its trajectory: the products with its step Jacobians.

    A change is a column over the full state, h and then, for a cell that carries c, c. The two count as independent of
    each other before the step. From where a sample rests, or into a step that starts from zeros, nothing passes.

    Args:
        cell: The equations.
        weights: Their weights.
        trajectory: Where the derivatives are taken.
        dtype: In which they are taken; the trajectory's own by default.
    """

    def __init__(self, cell: Cell, weights: Weights, trajectory: Trajectory, dtype: torch.dtype | None = None) -> None:
        self.steps, self.batch = trajectory.inputs.shape[:2]
        self.sizes = [trajectory.states[state].shape[-1] for state in cell.states]
        like = trajectory.inputs if dtype is None else trajectory.inputs.to(dtype)
        self.dtype, self.device = like.dtype, like.device
        self._cell, self._running, self._restarts = cell, trajectory.running, trajectory.restarts
        self._weights = Weights.of({name: value.to(like) for name, value in weights.named().items()})
        derivation = derive(cell)
        x, u, before, after = trajectory.seen_by(cell)
        x, u = ({gate: value.to(like) for gate, value in pre.items()} for pre in (x, u))
        arguments = (x, u, before.to(like), after.to(like), self._weights.units)
        self._zero = torch.zeros_like(arguments[2])
        self._update = derivation.evaluate_update(*arguments)
        self._output = derivation.evaluate_hidden(*arguments) if len(cell.states) > 1 else None

    @property
    def size(self) -> int:
        """The numbers in the full state of a sample."""
        return sum(self.sizes)

    def __iter__(self) -> Iterator[Push]:
        """The products with J_1, J_2, ..., J_T."""
        return (partial(self.state, step) for step in range(1, self.steps + 1))

    def jacobians(self) -> Iterator[Float[Tensor, "batch state previous"]]:
        """J_1, J_2, ..., J_T themselves."""
        hidden, carried, slopes = self.sizes[0], self.sizes[-1], self._recurrent
        weights = self._weights.by_gate(self._cell)
        for step in range(self.steps):
            new = self._zero.new_zeros(self.batch, len(self.sizes), carried, self.size)
            if slopes is not None:
                for gate, weight in enumerate(weights.values()):
                    new[..., :hidden].addcmul_(slopes[step, :, 0, :, gate].unsqueeze(-1), weight)
            new[..., -carried:].diagonal(dim1=-2, dim2=-1).add_(self._carry[step, :, 0])
            yield self._as_states(new.movedim(-1, 1)).mT

    def directions(self, count: int | None = None) -> Float[Tensor, "batch state column"]:
        """Random directions of the full state at right angles to one another, as many as there are by default."""
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(self.size, min(count or self.size, self.size), generator=generator, dtype=torch.float64)
        return torch.linalg.qr(drawn)[0].to(self.device, self.dtype).expand(self.batch, -1, -1)

    def state(self, step: int, changes: Float[Tensor, "batch state column"]) -> Float[Tensor, "batch state column"]:
        """The change of s_step that a change of s_{step-1} makes."""
        # Columns lie in memory one after the other, as products with few of them are fastest.
        changes = changes.mT
        new = self._carry[step - 1] * changes[..., None, -self.sizes[-1] :]
        if self._recurrent is not None and self._weights.weight_hh is not None:
            pre = functional.linear(changes[..., : self.sizes[0]], self._weights.weight_hh)
            new += (self._recurrent[step - 1] * pre.unflatten(-1, (1, -1, self.sizes[-1]))).sum(-2)
        return self._as_states(new).mT

    def input(self, step: int, changes: Float[Tensor, "input column"]) -> Float[Tensor, "batch state column"]:
        """The change of s_step that a change of x_step makes."""
        pre = functional.linear(changes.mT, self._weights.weight_ih).unflatten(-1, (1, -1, self.sizes[-1]))
        return self._as_states((self._input[step - 1] * pre).sum(-2)).mT

    @cached_property
    def _carry(self) -> Float[Tensor, "time batch 1 state hidden"]:
        """What the old carried state is multiplied with in every new state."""
        carry = self._in_states(self._zero if self._update.carried is None else self._update.carried)
        if self._cell.enters == "diagonal":
            by_gate = torch.stack(list(self._weights.by_gate(self._cell).values()))
            carry = carry + (self._slopes("recurrent", self._cell.entered) * by_gate).sum(-2)
        return self._stopped(carry)

    @cached_property
    def _recurrent(self) -> Float[Tensor, "time batch 1 state gate hidden"] | None:
        """What the recurrent pre-activations are multiplied with, where all units enter them."""
        return self._stopped(self._slopes("recurrent", self._cell.entered)) if self._cell.enters == "dense" else None

    @cached_property
    def _input(self) -> Float[Tensor, "time batch 1 state gate hidden"]:
        """What the input pre-activations are multiplied with."""
        return self._slopes("input", self._cell.gates)

    def _slopes(
        self, side: Literal["recurrent", "input"], gates: Sequence[str]
    ) -> Float[Tensor, "time batch 1 state gate hidden"]:
        """The derivatives of every new state with respect to the pre-activations of some gates."""
        by_gate = []
        for gate in gates:
            updated = getattr(self._update, side).get(gate, self._zero)
            opened = None if self._output is None else getattr(self._output, side).get(gate)
            by_gate.append(self._in_states(updated, opened))
        return torch.stack(by_gate, dim=-2)

    def _in_states(
        self, updated: Float[Tensor, "time batch hidden"], opened: Float[Tensor, "time batch hidden"] | None = None
    ) -> Float[Tensor, "time batch 1 state hidden"]:
        """The derivatives of every new state, from the carried one's and those of the output at fixed carried state."""
        states = [updated]
        if self._output is not None:
            output = updated * (self._zero if self._output.carried is None else self._output.carried)
            states = [output if opened is None else output + opened, updated]
        found = torch.stack(states, dim=2).unsqueeze(2)
        return found if self._running is None else found * self._running[:, :, None, None, None]

    def _stopped(self, slopes: Float[Tensor, "time batch *rest"]) -> Float[Tensor, "time batch *rest"]:
        """Zero where a step starts from zeros, whatever came before."""
        if self._restarts is None:
            return slopes
        return slopes.masked_fill(self._restarts.view(*self._restarts.shape, *[1] * (slopes.dim() - 2)), 0)

    def _as_states(self, new: Float[Tensor, "batch column state hidden"]) -> Float[Tensor, "batch column states"]:
        """One behind the other, the output projected to h."""
        if self._weights.weight_hr is None:
            return new.flatten(2)
        return torch.cat([functional.linear(new[:, :, 0], self._weights.weight_hr), new[:, :, 1]], dim=2)
