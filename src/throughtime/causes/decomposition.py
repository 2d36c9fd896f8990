"""Each step's change of ln-norm, split into named causes that add up exactly.

Followed is the adjoint of the carried state (h, or c for an LSTM), from delta_i = dl_t/ds_i to delta_{i-1}, with the
norm of the gradient map: root mean square over the batch.

A cell with a single path (a vanilla RNN) has two factors in a row, so the change is a sum of two logarithms:

    activation slope    ln |phi' * delta_i| - ln |delta_i|                never above 0 for tanh and ReLU: saturation
    weights             ln |W^T (phi' * delta_i)| - ln |phi' * delta_i|

A gated cell has paths side by side, delta_{i-1} = sum over paths p of delta_p. With the shares
c_p = <delta_p, delta_{i-1}>, which add up to |delta_{i-1}|^2, and perfect memory (all of |delta_i|^2 through the carry)
as the state of comparison, the change is split by the logarithmic mean Divisia index (Ang 2004, Energy Policy 32):

    nats_p = (c_p - [p is carry] b) / (2 L),   L = (a - b) / (ln a - ln b),   a = |delta_{i-1}|^2, b = |delta_i|^2

which adds up without a remainder, in no particular order of the paths. What joins at i - 1 from elsewhere (the loss, a
layer above) is the last cause, "entering".
"""

from abc import abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import Pullback, SweptFrame, or_zero
from throughtime.cells import Named, derive
from throughtime.measures import Film, Measure
from throughtime.measures.film import FrameKind, log_mean_exp
from throughtime.notation import ACTIVATION_SLOPE, CANDIDATE, CARRY, ENTERING, WEIGHTS

# Paths cost one product with W_hh per gate and source where the sweep needs one in all; beyond this many sources,
# evenly spread, the picture no longer changes.
SOURCES_FOLLOWED = 64


@dataclass(frozen=True)
class Decomposition:
    """The causes of one recurrence. Steps are labelled by i, the step crossed from s_i to s_{i-1}, 1..T by label.

    Args:
        followed: Which sources were followed, as indices.
        names: The causes.
        nats: Their contributions. NaN where a source is not active.
        paths: The paths.
        share: The part of what arrives at i - 1 that came along each path; adds up to 1.
        gain: For every path that runs through a gate, ln of the factor by which the activation slopes, and then the
            weights, change the norm along that path.
    """

    followed: Int[Tensor, " followed"]
    names: tuple[str, ...]
    nats: Float[Tensor, "cause followed state_step"]
    paths: tuple[str, ...]
    share: Float[Tensor, "path followed state_step"]
    gain: Float[Tensor, "path factor followed state_step"]


class Crossing(Measure[FrameKind]):
    """Splits the change of ln-norm at every step, for up to SOURCES_FOLLOWED sources, evenly spread.

    What the step did is the subclass's; what is in the adjoint afterwards and did not arrive through it has entered.

    Args:
        film: The axes.
        names: The causes, the last of them what has entered.
    """

    def __init__(self, film: Film, names: tuple[str, ...]) -> None:
        self._film, self.names = film, names
        count = min(film.sources, SOURCES_FOLLOWED)
        self._followed = torch.linspace(0, film.sources - 1, count).round().long()
        self._row = torch.full((film.sources,), -1).index_copy_(0, self._followed, torch.arange(count))
        self._nats = torch.full((len(names), count, film.steps), torch.nan, dtype=torch.float64)
        self._arrived: tuple[int, Tensor, Tensor] | None = None

    def update(self, frame: FrameKind) -> None:
        """Complete the step that led to this frame, and take the next one."""
        rows = self._row[frame.sources]
        here = rows >= 0
        if not here.any():
            return
        rows = rows[here]
        before = log_mean_exp(frame.ln_square[self._film.states[-1]][here])
        self._complete(frame.step, rows, before)
        if frame.step > 0:
            self._nats[-1, rows, frame.step - 1] = 0.0
            self._arrived = frame.step, rows, self._cross(frame, here, rows, before)

    @abstractmethod
    def _cross(self, frame: FrameKind, here: Tensor, rows: Tensor, before: Tensor) -> Tensor:
        """Take down what a step does, and return ln of the squared norm of what arrives at the state before it.

        Args:
            frame: The adjoints after the step, in reading order.
            here: Which of the frame's sources are followed.
            rows: Their places among those that are.
            before: ln of the squared norms of their adjoints.
        """

    def _complete(self, step: int, rows: Tensor, ln_square: Tensor) -> None:
        if self._arrived is None or self._arrived[0] != step + 1:
            return
        _, arrived_rows, arrived = self._arrived
        now = torch.full((len(self._followed),), torch.nan, dtype=torch.float64).index_copy_(0, rows, ln_square)
        entered = (now[arrived_rows] - arrived) / 2
        same = now[arrived_rows] == arrived
        self._nats[-1, arrived_rows, step] = entered.masked_fill(same, 0.0)


class Causes(Crossing[SweptFrame]):
    """The causes of a recurrence whose equations are known."""

    def __init__(self, film: Film, pullback: Pullback) -> None:
        self._pullback = pullback
        derivation = derive(pullback.cell)
        self.paths = derivation.path_names
        single = derivation.paths.get(CANDIDATE)
        self.vanilla = self.paths == (CANDIDATE,) and single is not None and len(single.recurrent) == 1
        super().__init__(film, (ACTIVATION_SLOPE, WEIGHTS, ENTERING) if self.vanilla else (*self.paths, ENTERING))
        shape = (len(self._followed), film.steps)
        self._share = torch.full((len(self.paths), *shape), torch.nan, dtype=torch.float64)
        self._gain = torch.full((len(self.paths), 2, *shape), torch.nan, dtype=torch.float64)

    def result(self) -> Decomposition:
        """All causes that were found."""
        order = self._film.in_sequence
        return Decomposition(
            self._followed, self.names, order(self._nats), self.paths, order(self._share), order(self._gain)
        )

    def _cross(self, frame: SweptFrame, here: Tensor, rows: Tensor, before: Tensor) -> Tensor:
        adjoint, column = frame.adjoint[here], frame.step - 1
        weight = _sample_weights(adjoint.log_scale)
        largest = or_zero(adjoint.log_scale.max(dim=-1).values)
        along, slopes = self._along_paths(frame.step, adjoint.values)
        total = along.sum(0)

        def over_batch(squares: Tensor) -> Tensor:
            return (squares * weight).mean(-1)

        carried = adjoint.norms[self._pullback.cell.carried]
        started, after = over_batch(carried.square()), over_batch((total * total).sum(-1))
        shares = over_batch((along * total).sum(-1))
        gates, squares = over_batch(slopes.square()), over_batch((along * along).sum(-1))
        self._share[:, rows, column] = shares / after
        self._gain[:, 0, rows, column] = (gates.log() - started.log()) / 2
        self._gain[:, 1, rows, column] = (squares.log() - gates.log()) / 2
        if self.vanilla:
            self._nats[0, rows, column] = self._gain[0, 0, rows, column]
            self._nats[1, rows, column] = self._gain[0, 1, rows, column]
        else:
            self._nats[:-1, rows, column] = self._divisia(shares, after, started)
        return after.log() + 2 * largest

    def _along_paths(self, step: int, adjoint: Named) -> tuple[Tensor, Tensor]:
        """What arrives at the carried state of step - 1, (path, source, batch, hidden), and the norm of what stood
        before the weights, (path, source, batch); NaN for a path without weights."""
        along, before_weights = [], []
        for direct, by_gate in self._pullback.path_slopes(step, adjoint).values():
            through = self._pullback.through_weights(by_gate)
            if through is not None and self._pullback.two_states and not self._pullback.unit_by_unit:
                through = self._pullback.carried_from_hidden(step - 1, through)
            parts = [part for part in (direct, through) if part is not None]
            along.append(parts[0] if len(parts) == 1 else parts[0] + parts[1])
            norms = [torch.linalg.vector_norm(value, dim=-1) for value in by_gate.values()]
            before_weights.append(torch.stack(norms).norm(dim=0) if norms else along[-1][..., 0] * torch.nan)
        # Squares of a strongly saturated path leave the range of float32.
        return torch.stack(along).double(), torch.stack(before_weights).double()

    def _divisia(self, shares: Tensor, after: Tensor, before: Tensor) -> Tensor:
        change = after.log() - before.log()
        # The logarithmic mean, which near equality is the arithmetic one to second order.
        ratio = torch.expm1(change) / change
        mean = before * ratio.masked_fill(change == 0, 1.0)
        baseline = torch.stack([before if path == CARRY else torch.zeros_like(before) for path in self.paths])
        return (shares - baseline) / (2 * mean)


def _sample_weights(log_scale: Tensor) -> Tensor:
    """exp(2 (log_scale - the largest of the source)), (source, batch)."""
    return (2 * (log_scale - or_zero(log_scale.max(dim=-1, keepdim=True).values))).exp()
