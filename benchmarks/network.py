"""One recurrence with a readout, as every benchmark uses it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from throughtime.adjoint import AtOneStep, Pullback, sweep
from throughtime.cells import Cell
from throughtime.unroll import Recurrent, Trajectory, unroll


@dataclass(frozen=True)
class Network:
    """A cell over a random sequence, and the direct derivative dl_t/dh_t of every loss."""

    cell: Cell
    layer: Recurrent
    trajectory: Trajectory
    direct: Tensor

    @classmethod
    def drawn(cls, cell: Cell, steps: int, batch: int, hidden: int) -> "Network":
        """With torch's initialisation and the same numbers at every call."""
        torch.manual_seed(0)
        layer = Recurrent(cell, hidden, hidden)
        inputs, direct = torch.randn(2, steps, batch, hidden)
        with torch.no_grad():
            initial = {state: torch.zeros(batch, hidden) for state in cell.states}
            return cls(cell, layer, unroll(cell, layer.weights(0, 0), inputs, initial), direct)

    @property
    def minimal_operations(self) -> int:
        """One product with the step Jacobian per source, state step and sample: 2 H^2, for an LSTM 4 H^2."""
        steps, batch, hidden = self.direct.shape
        return 2 * len(self.cell.states) * hidden**2 * batch * steps * (steps + 1) // 2

    @torch.no_grad()
    def swept(self, keep: bool = False) -> Tensor | None:
        """The bare sweep; with `keep`, the gradient map ln |dl_t/dh_i| of shape (loss_step, state_step)."""
        steps = len(self.direct)
        pullback = Pullback(self.cell, self.layer.weights(0, 0), self.trajectory)
        entering = [AtOneStep(self.direct, torch.arange(1, steps + 1))]
        found = torch.full((steps, steps + 1), -torch.inf, dtype=torch.float64) if keep else None
        for frame in sweep(pullback, entering, steps, torch.zeros(steps, dtype=torch.long)):
            if found is not None:
                found[frame.sources, frame.step] = frame.ln_square["h"].exp().mean(-1).log() / 2
        return found

    def unrolled(self) -> tuple[list[Tensor], Tensor]:
        """The same trajectory as a graph of single steps: h_0 .. h_T, and the losses direct_t . h_t."""
        cell, weights = self.cell, self.layer.weights(0, 0)
        hidden = torch.zeros(self.direct.shape[1:], requires_grad=True)
        carried = hidden if cell.carried == "h" else torch.zeros_like(hidden)
        states = [hidden]
        for x in self.trajectory.input_pre.unbind(0):
            u = torch.nn.functional.linear(hidden, weights.weight_hh, weights.bias_hh)
            hidden, carried = cell.reference_step(x, u, carried)
            states.append(hidden)
        return states, torch.stack([(d * h).sum() for d, h in zip(self.direct.unbind(0), states[1:], strict=True)])


def ln_rms(gradients: Tensor) -> Tensor:
    """ln sqrt(mean over the batch of the squared norm)."""
    return gradients.double().square().sum(-1).mean(-1).log() / 2
