"""The ordinary autograd between recurrences: from the loss, or from a run above, to the states below."""

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from throughtime.adjoint.entering import AtEveryStep, AtOneStep, Entering
from throughtime.adjoint.scaled import or_zero
from throughtime.capture import Run
from throughtime.capture.graph import saved_behind

# Vectors whose products with the Jacobian are taken in one call, and how many bytes these may take in any case: of a
# long sequence a single one is large.
AT_ONCE, BYTES_AT_ONCE = 32, 2**26
# So many tensors as large as the states are there at once on the way to their gradient: what an operation is handed,
# what it makes in between, and what it hands on.
ON_THE_WAY = 3
DOUBLE = 8


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


class Shared:
    """What all segments to one end have in common: of a cell that is called step by step, there is one for every step.

    A backward pass looks at the whole graph behind the end, however little of it leads to where it is asked for: there
    is one for all.

    Args:
        end: The tensor at the end.
        hidden: The hidden states of the runs of which nothing else is reached.
    """

    def __init__(self, end: Tensor, hidden: Sequence[Tensor]) -> None:
        self._end, self._hidden = end, list(hidden)
        self._place = {id(one): place for place, one in enumerate(self._hidden)}

    @cached_property
    def bytes_kept(self) -> int:
        """What the graph keeps."""
        kept = {one.untyped_storage().data_ptr(): one for one in saved_behind(self._end) if not one.is_leaf}
        return sum(one.nbytes for one in kept.values())

    def of_all(self, hidden: Tensor) -> Float[Tensor, "time batch hidden"]:
        """The derivative of the sum of all numbers at the end."""
        if len(self._hidden) == 1:
            # It is as large as the states, and made again at little cost.
            return self._derivatives()[0]
        return self._of_all[self._place[id(hidden)]]

    def seen(self, hidden: Tensor) -> Bool[Tensor, "sets time"]:
        """At which steps any of a set of numbers at the end depends on a state, for every set of `_sets`."""
        return self._seen[self._place[id(hidden)]]

    @cached_property
    def _of_all(self) -> Sequence[Tensor]:
        return self._derivatives()

    def _derivatives(self) -> Sequence[Tensor]:
        return torch.autograd.grad(self._end, self._hidden, torch.ones_like(self._end), retain_graph=True)

    @cached_property
    def in_sets(self) -> int:
        """In how many sets of `_sets` every number at the end is."""
        return int(_sets(len(self._end))[:, 0].sum())

    @cached_property
    def _seen(self) -> list[Tensor]:
        gradients = random_weights(self._end) * _sets(len(self._end)).to(self._end.device)
        taken = self.bytes_kept + self._end.nbytes + ON_THE_WAY * sum(one.nbytes for one in self._hidden)
        parts = [
            [(one != 0).flatten(2).any(dim=2) for one in batched_vjp(self._end, self._hidden, part)]
            for part in gradients.split(max(1, min(AT_ONCE, BYTES_AT_ONCE // taken)))
        ]
        return [torch.cat(its) for its in zip(*parts, strict=True)]


class Segment:
    """The graph from the states of one run to one tensor further up.

    Args:
        run: Whose states are at its start.
        end: The tensor at its end: all losses, or the input or an initial state of another run.
        reached: The states that anything passes from.
        shared: What it has in common with the other segments to that end.
    """

    def __init__(self, run: Run, end: Tensor, reached: Sequence[str], shared: Shared) -> None:
        self._run, self._end, self._reached, self._shared = run, end, list(reached), shared
        self._leaves = {"h": run.hidden, **run.final}

    @property
    def single(self) -> bool:
        """Whether the end is one loss of the whole sequence."""
        return self._end.shape == (1,) and self._run.steps > 1

    @cached_property
    def bytes_per_vector(self) -> int:
        """What a vector-Jacobian product takes on its way: about as much as the graph keeps, and its ends."""
        leaves = [self._leaves[state] for state in self._reached]
        return self._shared.bytes_kept + self._end.nbytes + ON_THE_WAY * sum(one.nbytes for one in leaves)

    @property
    def bytes_at_once(self) -> int:
        """What is made of some vectors at once, however many there are."""
        return max(self.bytes_per_vector, min(AT_ONCE * self.bytes_per_vector, BYTES_AT_ONCE))

    def bytes_from_losses(self) -> int:
        """What enters from the losses takes for one source: at one step, or at all of them."""
        if self.read_at is not None:
            return self._run.batch * (self._run.hidden.shape[-1] * self._run.hidden.element_size() + DOUBLE)
        return self._entered + self._seen

    def bytes_from_above(self, adjoint: int) -> tuple[int, int]:
        """What enters from above takes for one source, and what is made of it on the way.

        Args:
            adjoint: What the adjoint of the tensor at the end takes.
        """
        # Where there is nothing between the two, it enters as it is.
        if self._end is self._run.hidden:
            return self._entered, self._seen
        return self._entered, self._seen + adjoint * (1 if self.local else 2)

    @property
    def _entered(self) -> int:
        scales = 2 * DOUBLE * self._run.steps * self._run.batch
        # What a reverse recurrence reads is a copy.
        return sum(self._leaves[state].nbytes for state in self._reached) * (1 + self._run.reverse) + scales

    @property
    def _seen(self) -> int:
        """Of the look at where there is anything at all: a byte a number."""
        return sum(self._leaves[state].numel() for state in self._reached) + DOUBLE * self._run.steps * self._run.batch

    @cached_property
    def read_at(self) -> Int[Tensor, " loss"] | None:
        """For every loss the one step, from 0 on, whose states it reads, -1 for none; None where losses mix steps.

        Losses are told apart by sets, see `_sets`: a step that is read by one loss only sees those that the loss is in.
        """
        if self._reached != ["h"] or self.single:
            return None
        seen = self._shared.seen(self._run.hidden)
        steps = seen.any(dim=0).nonzero().squeeze(1)
        if (seen[:, steps].sum(0) != self._shared.in_sets).any():
            return None
        losses = _numbers(seen[:, steps])
        if len(losses.unique()) < len(losses):
            return None
        return torch.full((len(self._end),), -1).index_copy_(0, losses.cpu(), steps.cpu())

    @property
    def steps_read(self) -> Int[Tensor, " loss"] | None:
        """For every loss the one step, in reading order, whose states it reads, 0 for none; None where it is not one.

        Where all losses read the last states that were computed, a loss may also read none.
        """
        if self.read_at is None:
            return torch.full((len(self._end),), self._run.steps) if self.reads_the_end_only else None
        step = self._run.steps - self.read_at if self._run.reverse else self.read_at + 1
        return step.masked_fill(self.read_at < 0, 0)

    @cached_property
    def reads_the_end_only(self) -> bool:
        """Whether nothing of the states but the last ones that were computed enters."""
        if "h" not in self._reached:
            return True
        (pulled,) = self._pulled_in_parts(random_weights(self._end).unsqueeze(0))
        steps = (pulled["h"][0] != 0).flatten(1).any(dim=1)
        return not bool(self._run.reading.order(steps)[:-1].any())

    @cached_property
    def local(self) -> bool:
        """Whether every step and sample of the end depends on the same step and sample of the states only.

        Of every set of positions, see `_sets`, the gradient with random weights must be exactly zero at all positions
        that are not in it: of two positions, each is in a set that the other is not in.
        """
        hidden = self._run.hidden
        if self._end is hidden:
            return True
        shape = hidden.shape[:2]
        if self._reached != ["h"] or self._end.shape[:2] != shape:
            return False
        sets = _sets(shape.numel()).to(hidden.device).unflatten(1, shape)
        pulled = self._pulled_in_parts(random_weights(self._end) * _columns(sets, self._end.dim() + 1))
        passed = torch.cat([(part["h"] != 0).flatten(3).any(dim=3) for part in pulled])
        return not bool((passed & ~sets).any())

    def from_losses(self, sources: Int[Tensor, " source"]) -> list[Entering]:
        """What enters directly from the losses: dl_t/dy_t * dy_t/dh_t of every source t, and the like."""
        run = self._run
        if self.read_at is not None:
            by_step = self._shared.of_all(run.hidden)
            step = self.read_at[sources]
            position = run.steps - step if run.reverse else step + 1
            return [AtOneStep(by_step[step.clamp(min=0)], torch.where(step < 0, -1, position))]
        one_hot = torch.nn.functional.one_hot(sources, len(self._end)).to(self._end)
        return self._entering(self._pulled(one_hot), one_hot.new_zeros(len(sources), dtype=torch.float64))

    def from_above(self, adjoint: InputAdjoint) -> list[Entering]:
        """What enters from the adjoint of the tensor at the end."""
        if self._end is self._run.hidden:
            return self._entering({"h": adjoint.values}, adjoint.log_scale)
        if self.local:
            return self._entering(self._pulled(adjoint.values), adjoint.log_scale)
        # Steps or samples are mixed, so they need a common scale, and what is smaller than the largest by more than
        # the range of the dtype is lost against it.
        flat = adjoint.log_scale.flatten(1)
        largest = flat.max(dim=1).values
        factor = (adjoint.log_scale - _columns(or_zero(largest), adjoint.log_scale.dim())).exp()
        return self._entering(self._pulled(adjoint.values * factor.to(adjoint.values.dtype).unsqueeze(-1)), largest)

    def _entering(self, pulled: dict[str, Tensor], log_scale: Tensor) -> list[Entering]:
        entering: list[Entering] = []
        for state, values in pulled.items():
            scale = _columns(log_scale, values.dim() - 1).expand(values.shape[:-1])
            if state == "h":
                read = self._run.reading.order
                entering.append(AtEveryStep(read(values, 1), read(scale, 1)))
            else:
                entering += self._at_the_end(state, values, scale)
        return entering

    def _at_the_end(self, state: str, values: Tensor, scale: Tensor) -> list[Entering]:
        """What enters the final state of every sample, which a forward recurrence leaves where the sample ends."""
        ends = self._run.reading.ends(self._run.steps, values.shape[1])
        entering: list[Entering] = []
        for end in ends.unique().tolist():
            part = values * (ends == end).unsqueeze(-1).to(values.device)
            reached = (part != 0).flatten(1).any(dim=1).cpu()
            entering.append(AtOneStep(part, torch.where(reached, end, -1), state, scale))
        return entering

    def _pulled(self, gradients: Tensor) -> dict[str, Tensor]:
        """The vector-Jacobian products with every row of `gradients`, by state that is reached."""
        pulled = {
            state: self._leaves[state].new_empty(len(gradients), *self._leaves[state].shape) for state in self._reached
        }
        start = 0
        for part in self._pulled_in_parts(gradients):
            for state, values in part.items():
                stop = start + len(values)
                pulled[state][start:stop] = values
            start = stop
        return pulled

    def _pulled_in_parts(self, gradients: Tensor) -> Iterator[dict[str, Tensor]]:
        """The same, some rows at a time."""
        leaves = [self._leaves[state] for state in self._reached]
        for part in gradients.split(max(1, min(AT_ONCE, BYTES_AT_ONCE // self.bytes_per_vector))):
            yield dict(zip(self._reached, batched_vjp(self._end, leaves, part), strict=True))


def segments(runs: Sequence[Run], end: Tensor) -> dict[int, Segment]:
    """The segments from all runs that reach a tensor, by index of the run."""
    if not end.requires_grad or not runs:
        return {}
    leaves = [leaf for run in runs for leaf in run.leaves]
    found = iter(torch.autograd.grad(end.sum(), leaves, retain_graph=True, allow_unused=True))
    reached = [[state for state in ("h", *run.final) if next(found) is not None] for run in runs]
    shared = Shared(end, [run.hidden for run, states in zip(runs, reached, strict=True) if states == ["h"]])
    return {
        index: Segment(run, end, states, shared)
        for index, (run, states) in enumerate(zip(runs, reached, strict=True))
        if states
    }


def random_weights(end: Tensor) -> Tensor:
    """For the positions of an end, so that their gradients do not cancel."""
    return torch.rand(end.shape, generator=torch.Generator().manual_seed(0)).to(end) + 0.5


def batched_vjp(
    end: Tensor | Sequence[Tensor], starts: Sequence[Tensor], gradients: Tensor | Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Vector-Jacobian products with many vectors at once: one tensor (source, *shape) per start.

    Falls back to one call per vector where an operation cannot be batched.

    Args:
        end: One tensor or several.
        starts: What they depend on, every one of them.
        gradients: For every end, (source, *shape).
    """
    ends = [end] if isinstance(end, Tensor) else list(end)
    rows = [gradients] if isinstance(gradients, Tensor) else list(gradients)
    with warnings.catch_warnings():
        # torch says when an operation is batched by a loop; that is the fallback we want.
        warnings.simplefilter("ignore")
        try:
            return torch.autograd.grad(ends, starts, rows, retain_graph=True, is_grads_batched=True)
        except RuntimeError:
            single = [torch.autograd.grad(ends, starts, row, retain_graph=True) for row in zip(*rows, strict=True)]
            return tuple(map(torch.stack, zip(*single, strict=True)))


def _sets(count: int) -> Bool[Tensor, "sets count"]:
    """As few sets as there can be such that so many numbers are in equally many each, and no two in the same ones.

    What two numbers are in together are then more (Sperner 1928). The numbers count the combinations as the
    combinatorial number system does: n is in the sets b_1 < b_2 < ... with n = sum over j of C(b_j, j).
    """
    half = next(size for size in itertools.count(1) if math.comb(2 * size, size) >= count)
    sets = 2 * half - 1 if math.comb(2 * half - 1, half) >= count else 2 * half
    left, missing, binomials = torch.arange(count), torch.full((count,), half), _binomials(sets, half)
    found = torch.zeros(sets, count, dtype=torch.bool)
    for one in reversed(range(sets)):
        found[one] = left >= binomials[one, missing]
        left = left - binomials[one, missing] * found[one]
        missing = missing - found[one].long()
    return found


def _numbers(sets: Bool[Tensor, "sets count"]) -> Int[Tensor, " count"]:
    """The numbers that are in some sets each, as `_sets` counts them."""
    place = sets.cumsum(0)
    binomials = _binomials(len(sets), int(place[-1].max()) if place.numel() else 0).to(sets.device)
    return (binomials.gather(1, place) * sets).sum(0)


def _binomials(sets: int, half: int) -> Int[Tensor, "sets sizes"]:
    return torch.tensor([[math.comb(one, size) for size in range(half + 1)] for one in range(sets)])


def _columns(tensor: Tensor, axes: int) -> Tensor:
    """With as many axes of length 1 at the end as make `axes` in all."""
    return tensor.reshape(*tensor.shape, *[1] * (axes - tensor.dim()))
