"""The adjoint sweep: the film of a recurrence played backwards for many sources at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from throughtime.adjoint.at_once import AtOnce
from throughtime.adjoint.entering import Entering
from throughtime.adjoint.pullback import Pullback
from throughtime.adjoint.scaled import Scaled
from throughtime.adjoint.under_way import UnderWay
from throughtime.capture import AdjointNotFinite
from throughtime.cells import Named

# So many rows of zeros are held ready for the sources that start next: fewer, and rows are laid out anew more often;
# more, and products are taken with more zeros. At 16 both are below 2 % of a sweep over 1000 sources. A GPU takes zeros
# in its stride.
ROWS_AT_ONCE = AtOnce(16, 64)
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
    at_once = ROWS_AT_ONCE.where(pullback.trajectory.states["h"].is_cpu)
    rows, active, started = UnderWay.none(pullback), order[:0], 0

    def coming(at_most: int) -> list[Tensor]:
        """The active sources at the steps before this one, as far as there is room for them."""
        found, further = [], started
        for before in range(step - 1, max(step - 1 - at_most, -1), -1):
            while further < sources and starts[further] >= before:
                further += 1
            if active.shape[0] + further - started > len(rows):
                break
            found.append(torch.cat([active, order[started:further]]) if further > started else active)
        return found

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
            rows = rows.of(slice(None), min(count + at_once, count + sources - started))
        try:
            adjoint = rows.at(step, entering, active, under_way, coming)
        except AdjointNotFinite as error:
            raise _located(error, step, entering, active) from None
        if cut:
            followed = last_step[active] <= step
            here = followed.nonzero().squeeze(-1)
            if len(here):
                yield SweptFrame(step, active, adjoint, pullback).only(here)
            if count - len(here) >= at_once or not len(here):
                active, rows = active[here], rows.of(here, len(here))
        elif count:
            yield SweptFrame(step, active, adjoint, pullback)
        if started == sources and not active.shape[0]:
            return


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
