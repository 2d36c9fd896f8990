"""The step pushforward: from a change of s_{i-1}, or of x_i, to the change of s_i."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.cells import Cell, Named, Partial, derive
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
        derivation, carried = derive(cell), cell.carried
        along = [
            trajectory.input_pre,
            trajectory.recurrent_pre,
            trajectory.before(carried),
            trajectory.states[carried][1:],
        ]
        x, u, before, after = (tensor.to(like) for tensor in along)
        arguments = (cell.split(x), cell.split_recurrent(u), before, after, self._weights.units)
        self._update = self._as_columns(derivation.evaluate_update(*arguments))
        self._hidden = self._as_columns(derivation.evaluate_hidden(*arguments)) if len(cell.states) > 1 else None

    @property
    def size(self) -> int:
        """The numbers in the full state of a sample."""
        return sum(self.sizes)

    def __iter__(self) -> Iterator[Push]:
        """The products with J_1, J_2, ..., J_T."""
        return (partial(self.state, step) for step in range(1, self.steps + 1))

    def jacobians(self) -> Iterator[Float[Tensor, "batch state previous"]]:
        """J_1, J_2, ..., J_T themselves."""
        return (push(self.unit()) for push in self)

    def unit(self) -> Float[Tensor, "batch state column"]:
        """The unit matrix, for every sample."""
        return torch.eye(self.size, dtype=self.dtype, device=self.device).expand(self.batch, -1, -1)

    def directions(self, count: int | None = None) -> Float[Tensor, "batch state column"]:
        """Random directions of the full state at right angles to one another, as many as there are by default."""
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(self.size, min(count or self.size, self.size), generator=generator, dtype=torch.float64)
        return torch.linalg.qr(drawn)[0].to(self.device, self.dtype).expand(self.batch, -1, -1)

    def state(self, step: int, changes: Float[Tensor, "batch state column"]) -> Float[Tensor, "batch state column"]:
        """The change of s_step that a change of s_{step-1} makes."""
        if self._restarts is not None:
            changes = changes.masked_fill(self._restarts[step - 1, :, None, None], 0)
        hidden, carried = changes[:, : self.sizes[0]], changes[:, -self.sizes[-1] :]
        return self._through(step, "recurrent", self._recurrent_pre(hidden, carried), carried)

    def input(self, step: int, changes: Float[Tensor, "input column"]) -> Float[Tensor, "batch state column"]:
        """The change of s_step that a change of x_step makes."""
        pre = (self._weights.weight_ih @ changes).expand(self.batch, -1, -1)
        by_gate = dict(zip(self._cell.gates, pre.chunk(len(self._cell.gates), dim=-2), strict=True))
        return self._through(step, "input", by_gate, changes.new_zeros(self.batch, self.sizes[-1], changes.shape[-1]))

    def _recurrent_pre(self, hidden: Tensor, carried: Tensor) -> Named:
        """The changes of the recurrent pre-activations, by gate that the state enters."""
        weight, gates = self._weights.weight_hh, self._cell.entered
        if weight is None:
            return {}
        if self._cell.enters == "diagonal":
            pre = weight.unsqueeze(-1) * carried.repeat(1, len(gates), 1)
        else:
            pre = weight @ hidden
        return dict(zip(gates, pre.chunk(len(gates), dim=-2), strict=True))

    def _through(self, step: int, side: str, pre: Named, carried: Tensor) -> Tensor:
        """From the changes of the pre-activations and of the carried state before the step."""
        updated = _weighted(self._update, side, step, pre, carried)
        if self._hidden is None:
            return updated
        output = _weighted(self._hidden, side, step, pre, updated)
        weight_hr = self._weights.weight_hr
        return torch.cat([output if weight_hr is None else weight_hr @ output, updated], dim=-2)

    def _as_columns(self, slopes: Partial) -> Partial:
        running = None if self._running is None else self._running.unsqueeze(-1)
        return slopes.mapped(lambda slope: (slope if running is None else slope * running).unsqueeze(-1))


def _weighted(slopes: Partial, side: str, step: int, pre: Named, carried: Tensor) -> Tensor:
    """What the changes of the pre-activations and of a state bring about, through the element-wise derivatives."""
    total = torch.zeros_like(carried) if slopes.carried is None else slopes.carried[step - 1] * carried
    for gate, slope in getattr(slopes, side).items():
        total.addcmul_(slope[step - 1], pre[gate])
    return total
