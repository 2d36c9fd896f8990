"""The adjoints of all sources that are under way: from one step to the one before, or ahead by several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from throughtime.adjoint.at_once import AtOnce
from throughtime.adjoint.entering import Entered, Entering
from throughtime.adjoint.pullback import Pullback, rows_by_sample
from throughtime.adjoint.scaled import Scaled, norms_of
from throughtime.cells import Named

# So many steps are played ahead before anybody looks at how large the adjoints are, while all of these are so many
# numbers at most: on a GPU, looking takes longer than a step. The CPU looks at every step, while it has them at hand.
STEPS_AHEAD = 16
NUMBERS_AHEAD = AtOnce(0, 2**24)
# What is played ahead stays within e^-30 .. e^30, in the middle of float32's range; else it is played step by step.
LARGEST_LN_NORM_AHEAD = 30.0


@dataclass
class _Pace:
    """How far ahead is played: twice as far as went well, and not at all for a while where nothing did.

    Args:
        steps: How many steps are tried next.
        failed: How many times in a row not a single one went well.
        pause: So many steps are played one by one before it is tried again.
    """

    steps: int = STEPS_AHEAD
    failed: int = 0
    pause: int = 0

    def next(self, most: int) -> int:
        """How many steps to play ahead now; 0 for none."""
        if most < 2 or self.pause:
            self.pause = max(0, self.pause - 1)
            return 0
        return min(self.steps, most)

    def went(self, well: int, of: int) -> None:
        """So many steps went well of those that there was room for."""
        self.failed = 0 if well else self.failed + 1
        self.pause = 0 if well else min(STEPS_AHEAD, 2**self.failed)
        # Where all did, more may, however little room there was.
        self.steps = min(STEPS_AHEAD, 2 * max(1, self.steps if well == of else well))


class UnderWay:
    """The rows of all sources under way, and rows of zeros held ready for those that start next.

    They lie in memory by sample, so that the step Jacobians of all samples take all of them in one batched product.
    """

    def __init__(self, pullback: Pullback, adjoint: Scaled) -> None:
        self._pullback, self._adjoint = pullback, adjoint
        self._spare = torch.empty_like(adjoint.values["h"])
        numbers = sum(value.numel() for value in adjoint.values.values())
        self._most = min(STEPS_AHEAD, NUMBERS_AHEAD.where(adjoint.log_scale.is_cpu) // max(1, numbers))
        self._pace = _Pace()
        # The adjoints, with their norms, of the steps that have been played ahead.
        self._ahead: list[Scaled] = []
        self._room: tuple[Named, Tensor] | None = None

    @classmethod
    def none(cls, pullback: Pullback) -> UnderWay:
        """No rows."""
        values = {}
        for state in pullback.cell.states:
            initial = pullback.trajectory.states[state][0]
            values[state] = rows_by_sample(initial, 0, *initial.shape)
        log_scale = torch.zeros(0, initial.shape[0], dtype=torch.float64, device=initial.device)
        return cls(pullback, Scaled(values, log_scale))

    def __len__(self) -> int:
        return self._adjoint.log_scale.shape[0]

    def of(self, kept: Tensor | slice, rows: int) -> UnderWay:
        """Some of the rows, and behind them zeros up to a number of rows; what was played ahead is not taken over."""
        before, values = self._adjoint[kept], {}
        count, batch = before.log_scale.shape
        for state, value in before.values.items():
            values[state] = rows_by_sample(value, rows, *value.shape[1:])
            values[state][:count] = value
            values[state][count:] = 0
        log_scale = before.log_scale.new_full((rows, batch), -torch.inf)
        log_scale[:count] = before.log_scale
        found = UnderWay(self._pullback, Scaled(values, log_scale))
        found._pace = self._pace
        return found

    def at(
        self,
        step: int,
        entering: Sequence[Entering],
        active: Tensor,
        under_way: int,
        coming: Callable[[int], Sequence[Tensor]],
    ) -> Scaled:
        """Go on from step + 1 to a step, and let enter what enters there; the rows of the active sources.

        Args:
            step: The step.
            entering: What enters.
            active: The sources.
            under_way: How many of them were active before; the rows of the others are zero.
            coming: The active sources at the steps before this one, of so many steps at most, as far as there is room.
        """
        begun = step < self._pullback.trajectory.steps
        if begun and not self._ahead and (steps := self._pace.next(self._most)):
            actives = [active, *coming(steps - 1)]
            self._play_ahead(step, entering, actives, under_way)
            self._pace.went(len(self._ahead), len(actives))
        if self._ahead:
            return self._met(active.shape[0])
        values, carried = self._adjoint.values, self._pullback.cell.carried
        norms = None
        if begun:
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

    def _met(self, count: int) -> Scaled:
        """The next of the steps that have been played ahead."""
        self._adjoint = self._ahead.pop(0)
        if self._ahead:
            return self._adjoint[:count]
        # From here it goes on, and the room is needed for the next ones.
        values = {state: value.clone() for state, value in self._adjoint.values.items()}
        known, self._adjoint = self._adjoint.known, Scaled(values, self._adjoint.log_scale.clone())
        return replace(self._adjoint, known=known)[:count].normalised_()

    def _play_ahead(self, step: int, entering: Sequence[Entering], actives: Sequence[Tensor], under_way: int) -> None:
        """Play from step + 1 through a step and those before it: what has been played is in `_ahead` then, as far as
        no scale has to be changed.

        Args:
            step: The step.
            entering: What enters.
            actives: The active sources there and at the steps before it.
            under_way: How many were active before.
        """
        if self._room is None:
            self._room = self._made_room()
        room, log_scales = self._room
        values, log_scale, before = self._adjoint.values, self._adjoint.log_scale, under_way
        for place, active in enumerate(actives):
            values = self._pulled(step - place, values, {state: its[place] for state, its in room.items()})
            log_scale = log_scales[place].copy_(log_scale)
            self._ahead.append(Scaled(values, log_scale))
            adjoint = self._ahead[-1][: active.shape[0]]
            before = _enter(adjoint, entering, "h", step - place, active, before, on_scale=True)
            if self._pullback.two_states:
                carried = self._pullback.cell.carried
                self._pullback.add_from_hidden_(step - place, adjoint.values[carried], adjoint.values["h"])
                _enter(adjoint, entering, carried, step - place, active, before, on_scale=True)
            before = active.shape[0]
        norms = {state: norms_of(its[: len(actives)]).transpose(1, 2) for state, its in room.items()}
        good = _in_range_ahead(norms, log_scales[: len(actives)])
        self._ahead = [
            replace(adjoint, known={state: its[place] for state, its in norms.items()})
            for place, adjoint in enumerate(self._ahead[:good])
        ]

    def _made_room(self) -> tuple[Named, Tensor]:
        """For as many steps as are played ahead at most: by state, (step, batch, row, hidden), and scales."""
        values, log_scale = self._adjoint.values, self._adjoint.log_scale
        by_state = {
            state: value.new_empty(self._most, value.shape[1], value.shape[0], value.shape[2])
            for state, value in values.items()
        }
        return by_state, log_scale.new_empty(self._most, *log_scale.shape)

    def _pulled(self, step: int, values: Named, into: Named) -> Named:
        """All rows of the step, from those of the step after it."""
        carried = self._pullback.cell.carried
        found = {state: room.transpose(0, 1) for state, room in into.items()}
        self._pullback.previous_hidden(step + 1, values, found["h"])
        if self._pullback.two_states:
            found[carried].copy_(values[carried])
            self._pullback.previous_carried_(step + 1, {**values, carried: found[carried]})
        return found


def _in_range_ahead(norms: Named, log_scale: Tensor) -> int:
    """For how many steps all adjoints, (step, row, batch), are far from the limits of their dtype, or were zero and
    are."""
    norm = reduce(torch.hypot, norms.values())
    within = (norm > math.exp(-LARGEST_LN_NORM_AHEAD)) & (norm < math.exp(LARGEST_LN_NORM_AHEAD))
    good = (within | (log_scale == -torch.inf)).flatten(1).all(-1).cpu()
    return len(good) if bool(good.all()) else int(good.long().argmin())


def _enter(
    adjoint: Scaled,
    entering: Sequence[Entering],
    state: str,
    step: int,
    active: Tensor,
    empty_from: int,
    on_scale: bool = False,
) -> int:
    """Let enter what enters a state.

    Args:
        adjoint: Of the active sources.
        entering: What may enter.
        state: The state.
        step: The step.
        active: The sources.
        empty_from: Rows from this one on are zero.
        on_scale: Whether a row keeps the scale it has; whether that would do is seen of its norm.

    Returns:
        From which row on they are zero then.
    """
    count = active.shape[0]
    for part in entering:
        if part.state != state or not count or (entered := part.at(step, active)) is None:
            continue
        empty = _into_empty(entered, empty_from)
        if empty or not on_scale:
            adjoint.add_(state, *entered, empty=empty)
        else:
            adjoint.add_on_scale_(state, entered.rows, entered.values, entered.log_scale)
        empty_from = count
    return empty_from


def _into_empty(entered: Entered, empty_from: int) -> bool:
    """Whether something enters rows alone that are zero, from one on."""
    return isinstance(entered.rows, slice) and entered.rows.start is not None and entered.rows.start >= empty_from
