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

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import AtOnce, Pullback, Scaled, SweptFrame, or_zero, stacked
from throughtime.cells import Cell, Named, derive
from throughtime.compiled import path_products
from throughtime.measures import Film, Measure
from throughtime.measures.film import FrameKind
from throughtime.notation import ACTIVATION_SLOPE, CANDIDATE, CARRY, ENTERING, WEIGHTS
from throughtime.unroll import Weights

# Beyond so many sources, evenly spread, the picture no longer changes.
SOURCES_FOLLOWED = 64
# Paths cost a product with the weights of every gate where the sweep needs one in all. What they may take, in
# operations, and how many sources are followed however much that is: as many tell the parts of the causes, summed over
# all lags, to 1 % of what 64 do (T = 200, RNN and GRU).
OPERATIONS = 2e8
FEWEST_SOURCES = 8
# Steps are gathered until the adjoints of those sources are so many numbers, and then taken down together.
NUMBERS_AT_ONCE = AtOnce(2**18, 2**22)


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
    """Splits the change of ln-norm at every step, for some of the sources, evenly spread.

    What the step did is the subclass's; what is in the adjoint afterwards and did not arrive through it has entered.

    Args:
        film: The axes.
        names: The causes, the last of them what has entered.
        at_most: How many sources are followed.
    """

    def __init__(self, film: Film, names: tuple[str, ...], at_most: int = SOURCES_FOLLOWED) -> None:
        self._film, self.names = film, names
        count = min(film.sources, at_most)
        self._followed = torch.linspace(0, film.sources - 1, count).round().long()
        # As an array: it is looked at in every frame, and calls of a few numbers cost numpy a fraction.
        self._row = np.full(film.sources, -1)
        self._row[self._followed.numpy()] = np.arange(count)
        # Which sources the last frame showed, which of them are followed, and their places among those that are.
        self._shown = self._here = self._rows = self._followed[:0]
        self._nats = torch.full((len(names), count, len(film.kept) - 1), torch.nan, dtype=torch.float64)
        # ln of the squared norms at every state, and of what arrived there through the step.
        self._there = torch.full((count, len(film.kept)), torch.nan, dtype=torch.float64)
        self._arrived = self._there.clone()

    def update(self, frame: FrameKind) -> None:
        """Take in the adjoints of the followed sources at one state."""
        if not torch.equal(frame.sources, self._shown):
            rows = self._row[frame.sources.numpy()]
            here = np.flatnonzero(rows >= 0)
            self._shown, self._rows = frame.sources, torch.from_numpy(rows[here])
            self._here = torch.from_numpy(here).to(frame.adjoint.log_scale.device)
        if len(self._here):
            self._take(frame, self._here, self._rows)

    @abstractmethod
    def _take(self, frame: FrameKind, here: Tensor, rows: Tensor) -> None:
        """Take in a frame; by the end `_there` and `_arrived` tell what it brought, and `_nats` what the step did.

        Args:
            frame: The adjoints after the step, in reading order.
            here: Which of the frame's sources are followed.
            rows: Their places among those that are.
        """

    def _enter(self) -> None:
        """What is at a state and did not arrive through the step has entered, where both are known."""
        entered = (self._there - self._arrived)[:, :-1] / 2
        same = self._there[:, :-1] == self._arrived[:, :-1]
        crossed = ~self._there[:, 1:].isnan()
        known = crossed & ~(self._arrived[:, :-1].isnan() | self._there[:, :-1].isnan())
        self._nats[-1] = torch.where(known, entered.masked_fill(same, 0.0), torch.where(crossed, 0.0, torch.nan))


class Causes(Crossing[SweptFrame]):
    """The causes of a recurrence whose equations are known."""

    def __init__(self, film: Film, pullback: Pullback) -> None:
        self._pullback = pullback
        derivation = derive(pullback.cell)
        self.paths = derivation.path_names
        single = derivation.paths.get(CANDIDATE)
        self.vanilla = self.paths == (CANDIDATE,) and single is not None and len(single.recurrent) == 1
        names = (ACTIVATION_SLOPE, WEIGHTS, ENTERING) if self.vanilla else (*self.paths, ENTERING)
        super().__init__(film, names, sources_followed(film, pullback.cell, pullback.weights))
        shape = (len(self._followed), len(film.kept) - 1)
        self._share = torch.full((len(self.paths), *shape), torch.nan, dtype=torch.float64)
        self._gain = torch.full((len(self.paths), 2, *shape), torch.nan, dtype=torch.float64)

        # The adjoints of the same sources at some steps.
        self._gathered: list[Scaled] = []
        self._steps: list[int] = []
        self._gathered_rows = self._followed[:0]

    def result(self) -> Decomposition:
        """All causes that were found."""
        self._take_down()
        self._enter()
        order = self._film.in_sequence
        return Decomposition(
            self._followed, self.names, order(self._nats), self.paths, order(self._share), order(self._gain)
        )

    def _take(self, frame: SweptFrame, here: Tensor, rows: Tensor) -> None:
        adjoint = frame.adjoint[here]
        numbers = sum(value.numel() for value in adjoint.values.values())
        room = NUMBERS_AT_ONCE.where(adjoint.log_scale.is_cpu)
        if len(self._gathered) * numbers >= room or not torch.equal(rows, self._gathered_rows):
            self._take_down()
            self._gathered_rows = rows
        self._gathered.append(adjoint)
        self._steps.append(frame.step)

    def _take_down(self) -> None:
        """Split what the gathered steps did, all of them at once."""
        if not self._gathered:
            return
        adjoint, steps, rows = stacked(self._gathered), torch.tensor(self._steps), self._gathered_rows
        self._gathered, self._steps = [], []
        weight, largest = _sample_weights(adjoint.log_scale)
        before = (adjoint.norms[self._pullback.cell.carried].square() * weight).mean(-1)
        self._there[rows, self._film.column[steps].unsqueeze(1)] = (before.log() + largest).cpu()
        # The initial state, to which no step leads, comes last.
        crossed = int(steps.count_nonzero())
        if crossed:
            self._cross(steps[:crossed], rows, adjoint[:crossed], before[:crossed].cpu())

    def _cross(self, steps: Tensor, rows: Tensor, adjoint: Scaled, before: Tensor) -> None:
        """Take in what steps do to the adjoints of some sources, (step, source, batch, hidden).

        Args:
            steps: The steps.
            rows: The places of the sources among those that are followed.
            adjoint: Of s_step.
            before: The mean over the batch of |adjoint|^2, on the largest scale of the source.
        """
        column = self._film.column[steps].unsqueeze(1) - 1
        weight, largest = _sample_weights(adjoint.log_scale)
        along, slopes = self._along_paths(steps, adjoint.values)
        shares, squares, gates = ((part * weight).mean(-1).cpu() for part in (*_products(along), slopes))
        after = shares.sum(0)
        self._share[:, rows, column] = shares / after
        self._gain[:, 0, rows, column] = (gates.log() - before.log()) / 2
        self._gain[:, 1, rows, column] = (squares.log() - gates.log()) / 2
        if self.vanilla:
            self._nats[:-1, rows, column] = self._gain[0][:, rows, column]
        else:
            self._nats[:-1, rows, column] = self._divisia(shares, after, before)
        self._arrived[rows, column] = after.log() + largest.cpu()

    def _along_paths(self, steps: Tensor, adjoint: Named) -> tuple[Tensor, Tensor]:
        """What arrives at the carried state before the steps, (path, step, source, batch, hidden), and the squared norm
        of what stood before the weights, (path, step, source, batch), float64; NaN for a path without weights."""
        carried = adjoint[self._pullback.cell.carried]
        along = carried.new_empty(len(self.paths), *carried.shape)
        before_weights = along.new_full(along.shape[:-1], torch.nan, dtype=torch.float64)
        for path, (direct, by_gate) in enumerate(self._pullback.path_slopes(steps, adjoint).values()):
            through = self._pullback.through_weights(by_gate)
            if through is not None and self._pullback.two_states and not self._pullback.unit_by_unit:
                through = self._pullback.carried_from_hidden(steps - 1, through)
            parts = [part for part in (direct, through) if part is not None]
            torch.add(*parts, out=along[path]) if len(parts) == 2 else along[path].copy_(parts[0])
            if by_gate:
                before_weights[path] = sum(_products(value.unsqueeze(0))[1][0] for value in by_gate.values())
        return along, before_weights

    def _divisia(self, shares: Tensor, after: Tensor, before: Tensor) -> Tensor:
        change = after.log() - before.log()
        # The logarithmic mean, which near equality is the arithmetic one to second order.
        ratio = torch.expm1(change) / change
        mean = before * ratio.masked_fill(change == 0, 1.0)
        baseline = torch.stack([before if path == CARRY else torch.zeros_like(before) for path in self.paths])
        return (shares - baseline) / (2 * mean)


def _products(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """What `throughtime.compiled.path_products` gives, wherever the vectors lie."""
    if vectors.is_cpu:
        return path_products(vectors)
    exact = vectors.double()
    return (exact * exact.sum(0)).sum(-1), exact.square().sum(-1)


def sources_followed(film: Film, cell: Cell, weights: Weights) -> int:
    """How many sources are followed along all paths: as many as can be afforded."""
    weight = weights.weight_hh
    if weight is None:
        return min(film.sources, SOURCES_FOLLOWED)
    derivation = derive(cell)
    partials = [*derivation.paths.values(), *([] if derivation.hidden is None else [derivation.hidden])]
    products = sum(len(partial.recurrent) for partial in partials)
    farthest = film.steps if film.max_lag is None else film.max_lag
    states = float(film.positions.clamp(max=farthest).double().mean())
    one = 2 * products * weight.numel() / len(cell.entered) * film.batch * states
    return min(film.sources, SOURCES_FOLLOWED, max(FEWEST_SOURCES, int(OPERATIONS / max(one, 1))))


def _sample_weights(log_scale: Tensor) -> tuple[Tensor, Tensor]:
    """exp(2 (log_scale - the largest of the source)) of every sample, and twice that largest."""
    largest = or_zero(log_scale.amax(dim=-1))
    return (2 * (log_scale - largest.unsqueeze(-1))).exp(), 2 * largest
