"""One recurrence with a readout, as every benchmark uses it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

import throughtime as tt
from benchmarks import machine
from throughtime.adjoint import AtOneStep, Pullback, sweep
from throughtime.cells import Cell
from throughtime.measures import Film, GradientMap, Reels
from throughtime.unroll import Recurrent, Trajectory, unroll


@dataclass(frozen=True)
class Network:
    """A cell over a random sequence, and the direct derivative dl_t/dh_t of every loss.

    Args:
        cell: The equations.
        layer: Holds their weights.
        trajectory: What it ran through.
        direct: One per step.
        sources: Which losses are followed, as indices in increasing order.
    """

    cell: Cell
    layer: Recurrent
    trajectory: Trajectory
    direct: Tensor
    sources: Tensor

    @classmethod
    def drawn(cls, cell: Cell, steps: int, batch: int, hidden: int, sources: int | None = None) -> "Network":
        """With torch's initialisation and the same numbers at every call; `sources` are evenly spread, None for all."""
        torch.manual_seed(0)
        followed = torch.linspace(steps - 1, 0, steps if sources is None else sources).round().long().flip(0)
        with torch.no_grad(), machine.DEVICE:
            layer = Recurrent(cell, hidden, hidden)
            inputs, direct = torch.randn(2, steps, batch, hidden)
            initial = {state: torch.zeros(batch, hidden) for state in cell.states}
            return cls(cell, layer, unroll(cell, layer.weights(0, 0), inputs, initial), direct, followed)

    @property
    def minimal_operations(self) -> int:
        """One product with the step Jacobian per source, state step and sample: 2 H^2, for an LSTM 4 H^2."""
        _, batch, hidden = self.direct.shape
        return 2 * len(self.cell.states) * hidden**2 * batch * int((self.sources + 1).sum())

    @torch.no_grad()
    def swept(self) -> Tensor:
        """By the bare sweep the gradient map ln |dl_t/dh_i|, (source, state_step), nats."""
        pullback = Pullback(self.cell, self.layer.weights(0, 0), self.trajectory)
        entering = [AtOneStep(self.direct[self.sources], self.sources + 1)]
        steps, batch, _ = self.direct.shape
        film = Film(("h",), steps, batch, self.sources + 1, self.sources + 1, causal=True)
        found = GradientMap(film)
        reels = Reels(film, [found])
        for frame in sweep(pullback, entering, len(self.sources), torch.zeros_like(self.sources)):
            reels.update(frame)
        reels.finish()
        return found.result()[0]

    def examined(self) -> tt.Examination:
        """By `tt.examine`, with all measures and causes: every loss is direct_t . h_t, summed over the batch."""
        followed = (self.sources + 1).tolist()
        return tt.examine(_Output(self.layer), self.trajectory.inputs, self.direct, loss=_product, loss_steps=followed)

    def unrolled(self) -> tuple[list[Tensor], Tensor]:
        """The same trajectory as a graph of single steps: h_0 .. h_T, and the losses direct_t . h_t of the sources."""
        cell, weights = self.cell, self.layer.weights(0, 0)
        hidden = torch.zeros_like(self.direct[0], requires_grad=True)
        carried = hidden if cell.carried == "h" else torch.zeros_like(hidden)
        states = [hidden]
        for x in self.trajectory.input_pre.unbind(0):
            u = torch.nn.functional.linear(hidden, weights.weight_hh, weights.bias_hh)
            hidden, carried = cell.reference_step(x, u, carried)
            states.append(hidden)
        losses = [(self.direct[source] * states[source + 1]).sum() for source in self.sources]
        return states, torch.stack(losses)


class _Output(nn.Module):
    """What a layer returns, but for its last state."""

    def __init__(self, layer: Recurrent) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs)[0]


def _product(output: Tensor, direct: Tensor) -> Tensor:
    return (output * direct).sum((1, 2))


def ln_rms(gradients: Tensor) -> Tensor:
    """ln sqrt(mean over the batch of the squared norm)."""
    return gradients.double().square().sum(-1).mean(-1).log() / 2
