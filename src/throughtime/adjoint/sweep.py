"""The adjoint sweep: the film of a recurrence played backwards for many sources at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint.entering import Entering
from throughtime.adjoint.pullback import Pullback
from throughtime.adjoint.scaled import Scaled
from throughtime.cells import Named

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

    @cached_property
    def recurrent_pre(self) -> Scaled:
        """The adjoint of W_hh h_{i-1} + b_hh, (active, batch, gates * hidden) as "pre"; for step 1 and later."""
        return self._scaled(self.pullback.recurrent_pre(self.step, self.adjoint.values))

    @cached_property
    def input_pre(self) -> Scaled:
        """The adjoint of W_ih x_i + b_ih, (active, batch, gates * hidden) as "pre"; for step 1 and later."""
        if self.pullback.one_pre_activation:
            return self.recurrent_pre
        return self._scaled(self.pullback.input_pre(self.step, self.adjoint.values))

    @cached_property
    def vectors(self) -> dict[str, Scaled]:
        """By name of a weight that is a vector, its weight term of every sample, (active, batch, *weight) as "pre"."""
        return {
            name: self._scaled(term) for name, term in self.pullback.vectors(self.step, self.adjoint.values).items()
        }

    @cached_property
    def projection(self) -> Scaled:
        """The adjoint of what W_hr makes, h_i itself, (active, batch, projected) as "pre"; for step 1 and later."""
        return self._scaled(self.adjoint.values["h"])

    def _scaled(self, pre: Float[Tensor, "active batch features"]) -> Scaled:
        return Scaled({"pre": pre}, self.adjoint.log_scale).normalised()


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
    initial = {state: pullback.trajectory.states[state][0] for state in pullback.cell.states}
    first = torch.stack([part.first for part in entering]).max(dim=0).values
    # Those that start first stand first, so that the active ones are always neighbours.
    order = torch.argsort(first, descending=True, stable=True)
    starts = first[order].tolist()
    started, active = 0, order[:0]
    adjoint = Scaled(
        {state: value.new_zeros(0, *value.shape) for state, value in initial.items()},
        torch.zeros(0, initial["h"].shape[0], dtype=torch.float64, device=initial["h"].device),
    )
    for step in range(pullback.trajectory.steps, -1, -1):
        starting = started
        while starting < sources and starts[starting] >= step:
            starting += 1
        active = torch.cat([active, order[started:starting]])
        adjoint = _pulled(pullback, step + 1, adjoint, len(active))
        started = starting
        _enter(adjoint, entering, "h", step, active)
        if pullback.two_states:
            adjoint = _with_carried(pullback, step, adjoint)
            _enter(adjoint, entering, pullback.cell.carried, step, active)
        adjoint = adjoint.normalised()
        followed = last_step[active] <= step
        if not followed.all():
            active, adjoint = active[followed], adjoint[followed]
        if len(active):
            yield SweptFrame(step, active, adjoint, pullback)
        elif started == sources:
            return


def _pulled(pullback: Pullback, step: int, adjoint: Scaled, rows: int) -> Scaled:
    """The adjoint of s_{step-1}, zero for sources that start there, from that of s_step; c's without h_{step-1}'s."""
    scale = adjoint.log_scale
    scale = torch.cat([scale, scale.new_full((rows - len(scale), scale.shape[1]), -torch.inf)])
    if step > pullback.trajectory.steps:
        return Scaled({s: value.new_zeros(rows, *value.shape[1:]) for s, value in adjoint.values.items()}, scale)
    values = {"h": pullback.previous_hidden(step, adjoint.values, rows)}
    if pullback.two_states:
        values[pullback.cell.carried] = pullback.previous_carried(step, adjoint.values, rows)
    return Scaled(values, scale)


def _with_carried(pullback: Pullback, step: int, adjoint: Scaled) -> Scaled:
    """The adjoint of c_step, once that of h_step is complete."""
    carried, hidden = adjoint.values[pullback.cell.carried], adjoint.values["h"]
    pulled = carried.add_(pullback.carried_from_hidden(step, hidden))
    return Scaled({"h": hidden, pullback.cell.carried: pulled}, adjoint.log_scale)


def _enter(adjoint: Scaled, entering: Sequence[Entering], state: str, step: int, active: Tensor) -> None:
    for part in entering:
        if part.state == state and len(active) and (rows := part.at(step, active)) is not None:
            adjoint.add_(state, *rows)
