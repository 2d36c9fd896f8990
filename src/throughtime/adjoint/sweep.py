"""The adjoint sweep: the film of a recurrence played backwards for many sources at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from throughtime.adjoint.entering import Entering
from throughtime.adjoint.pullback import Pullback, rows_by_sample
from throughtime.adjoint.scaled import Scaled
from throughtime.capture import AdjointNotFinite
from throughtime.cells import Named

# So many rows of zeros are held ready for the sources that start next: fewer, and rows are laid out anew more often;
# more, and products are taken with more zeros. At 16 both are below 2 % of a sweep over 1000 sources.
ROWS_AT_ONCE = 16
NOT_DIFFERENTIABLE = (
    "what stands between the state and the loss has no finite derivative there: a root or a logarithm of 0, a division "
    "by 0, or inf behind a mask"
)

FrameKind = TypeVar("FrameKind", bound="Frame")


@dataclass(frozen=True)
class Frame:
    """The adjoints of all active sources at one state.

    Args:
        step: i, in reading order, from T down to 0.
        sources: Which sources are active, as indices.
        adjoint: dl_t/ds_i of the active sources, by state.
    """

    step: int
    sources: Int[Tensor, " active"]
    adjoint: Scaled

    def of(self: FrameKind, sources: Int[Tensor, " source"]) -> FrameKind:
        """The same frame, its sources numbered as places in a longer list of which only these were played."""
        return self.changed(sources=sources[self.sources])

    def changed(self: FrameKind, **changes: Any) -> FrameKind:
        """The same adjoints under other names: of another step, of other sources."""
        changed = replace(self, **changes)
        # What has been computed once holds for both.
        computed = {name: value for name, value in vars(self).items() if name not in vars(changed)}
        vars(changed).update(computed)
        return changed

    @cached_property
    def ln_square(self) -> Named:
        """By state, ln |dl_t/ds_i|^2 of every active source and sample, (active, batch), float64."""
        return {state: self.adjoint.ln_square(state) for state in self.adjoint.values}


@dataclass(frozen=True)
class SweptFrame(Frame):
    """A frame of a recurrence whose equations are known.

    Args:
        pullback: Its step pullbacks.
    """

    pullback: Pullback

    def only(self, rows: Int[Tensor, " row"]) -> SweptFrame:
        """The same frame of some of its active sources."""
        return SweptFrame(self.step, self.sources[rows], self.adjoint[_as_slice(rows)], self.pullback)

    @cached_property
    def input_pre(self) -> Scaled:
        """The adjoint of W_ih x_i + b_ih, (active, batch, gates * hidden) as "pre"; for step 1 and later."""
        pre = self.pullback.input_pre(self.step, self.adjoint.values)
        try:
            return Scaled({"pre": pre}, self.adjoint.log_scale.clone()).normalised_()
        except AdjointNotFinite as error:
            sources = self.sources[error.sources]
            raise error.changed(quantity="adjoint of the pre-activation", step=self.step, sources=sources) from None

    @cached_property
    def vectors(self) -> Scaled:
        """What the slopes of the step are multiplied with, see `Pullback.vectors`, on the scale of the adjoint."""
        return Scaled(self.pullback.vectors(self.adjoint.values), self.adjoint.log_scale)


def sweep(
    pullback: Pullback,
    entering: Sequence[Entering],
    sources: int,
    last_step: Int[Tensor, " source"],
) -> Iterator[SweptFrame]:
    """Play the film backwards.

    A source is followed from the first state at which anything of it enters; states before that cost nothing.

    Args:
        pullback: The recurrence.
        entering: What enters directly. Their sum is taken.
        sources: How many sources there are.
        last_step: The smallest step to which each source is followed; 0 is the initial state.

    Yields:
        One frame per state step, from T to 0, while any source is active. A frame is valid until the next is drawn.
    """
    first = torch.stack([part.first for part in entering]).max(dim=0).values
    # Those that start first stand first, so that new ones only ever join at the end.
    order = torch.argsort(first, descending=True, stable=True)
    starts, cut = first[order].tolist(), bool((last_step > 0).any())
    rows, active, started = _Rows.none(pullback), order[:0], 0
    for step in range(pullback.trajectory.steps, -1, -1):
        before = started
        while started < sources and starts[started] >= step:
            started += 1
        if started == before and not active.shape[0]:
            continue
        under_way = active.shape[0]
        active = torch.cat([active, order[before:started]])
        # Of a tensor, the shape is told faster than the length.
        count = active.shape[0]
        if count > len(rows):
            rows = rows.of(slice(None), min(count + ROWS_AT_ONCE, count + sources - started))
        try:
            adjoint = rows.at(step, entering, active, under_way)
        except AdjointNotFinite as error:
            raise _located(error, step, entering, active) from None
        if cut:
            followed = last_step[active] <= step
            here = followed.nonzero().squeeze(-1)
            if len(here):
                yield SweptFrame(step, active, adjoint, pullback).only(here)
            if count - len(here) >= ROWS_AT_ONCE or not len(here):
                active, rows = active[here], rows.of(here, len(here))
        elif count:
            yield SweptFrame(step, active, adjoint, pullback)
        if started == sources and not active.shape[0]:
            return


class _Rows:
    """The adjoints of all sources under way, and rows of zeros held ready for those that start next.

    They lie in memory by sample, so that the step Jacobians of all samples take all of them in one batched product.
    """

    def __init__(self, pullback: Pullback, adjoint: Scaled) -> None:
        self._pullback, self._adjoint = pullback, adjoint
        self._spare = torch.empty_like(adjoint.values["h"])

    @classmethod
    def none(cls, pullback: Pullback) -> _Rows:
        """No rows."""
        values = {}
        for state in pullback.cell.states:
            initial = pullback.trajectory.states[state][0]
            values[state] = rows_by_sample(initial, 0, *initial.shape)
        log_scale = torch.zeros(0, initial.shape[0], dtype=torch.float64, device=initial.device)
        return cls(pullback, Scaled(values, log_scale))

    def __len__(self) -> int:
        return self._adjoint.log_scale.shape[0]

    def of(self, kept: Tensor | slice, rows: int) -> _Rows:
        """Some of the rows, and behind them zeros up to a number of rows."""
        before, values = self._adjoint[kept], {}
        count, batch = before.log_scale.shape
        for state, value in before.values.items():
            values[state] = rows_by_sample(value, rows, *value.shape[1:])
            values[state][:count] = value
            values[state][count:] = 0
        log_scale = before.log_scale.new_full((rows, batch), -torch.inf)
        log_scale[:count] = before.log_scale
        return _Rows(self._pullback, Scaled(values, log_scale))

    def at(self, step: int, entering: Sequence[Entering], active: Tensor, under_way: int) -> Scaled:
        """Go on from step + 1 to a step, and let enter what enters there; the rows of the active sources.

        Args:
            step: The step.
            entering: What enters.
            active: The sources.
            under_way: How many of them were active before; the rows of the others are zero.
        """
        values, carried = self._adjoint.values, self._pullback.cell.carried
        norms = None
        if step < self._pullback.trajectory.steps:
            pulled, norms = self._pullback.previous_hidden(step + 1, values, self._spare)
            if self._pullback.two_states:
                self._pullback.previous_carried_(step + 1, values)
            values["h"], self._spare = pulled, values["h"]
        known = {} if norms is None else {"h": norms}
        adjoint = replace(self._adjoint, known=known)[: active.shape[0]]
        empty_from = _enter(adjoint, entering, "h", step, active, under_way)
        if self._pullback.two_states:
            self._pullback.add_from_hidden_(step, adjoint.values[carried], adjoint.values["h"])
            _enter(adjoint, entering, carried, step, active, empty_from)
        return adjoint.normalised_()


def _located(error: AdjointNotFinite, step: int, entering: Sequence[Entering], active: Tensor) -> AdjointNotFinite:
    """Where in a sweep an adjoint is not finite, and whether what enters there is not."""
    found = error.changed(step=step, sources=active[error.sources])
    for part in entering:
        entered = part.at(step, active)
        if entered is not None and not entered.values.isfinite().all():
            return found.changed(quantity=f"direct derivative of the state {part.state}", advice=NOT_DIFFERENTIABLE)
    return found


def _as_slice(rows: Tensor) -> slice | Tensor:
    """Neighbouring rows as a slice, which copies nothing."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def _enter(
    adjoint: Scaled, entering: Sequence[Entering], state: str, step: int, active: Tensor, empty_from: int
) -> int:
    """Let enter what enters a state; rows from one on are zero, and from which on they are so then is returned."""
    count = active.shape[0]
    for part in entering:
        if part.state == state and count and (entered := part.at(step, active)) is not None:
            rows = entered.rows
            empty = isinstance(rows, slice) and rows.start is not None and rows.start >= empty_from
            adjoint.add_(state, *entered, empty=empty)
            empty_from = count
    return empty_from
