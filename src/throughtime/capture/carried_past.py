"""States that a model carries past what it calls: h = 0.9 h + 0.1 cell(x, h), a residual, a leak.

What passes on from step to step is then the variable of the loop, and what is called only a part of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from throughtime.capture.candidate import Candidate
from throughtime.capture.graph import distance
from throughtime.capture.watch import Call, Callee
from throughtime.capture.written_out import CALLS_TRIED, written_out

# How far from 0 and 1 the parts of a mask may be, by rounding.
ROUNDING = 1e-3


def around_calls(callee: Callee, calls: Sequence[Call], every: Sequence[Call]) -> Candidate | None:
    """The loop around the calls of a recurrent module, where the state that it is given passes it by; else None.

    Args:
        callee: The module.
        calls: All of its calls.
        every: All calls of the run.
    """
    found = written_out(callee, calls, (), every)
    if found is None:
        return None
    steps = (
        (one.caller.get(state.entering), two.caller.get(state.entering), one)
        for one, two in pairwise(found.calls[:CALLS_TRIED])
        for state in found.states
    )
    passed = any(
        earlier is not None and _is_given(one, earlier) and passes_by(later, earlier, [*one.returned.values()])
        for earlier, later, one in steps
    )
    return found if passed else None


def _is_given(call: Call, state: Tensor) -> bool:
    """Whether a recurrent module is given a state, or what was made of it; others have ways of their own past it."""
    given = [tensor for place, tensor in call.received.items() if place.startswith("hx")]
    return any(distance(tensor, state) is not None for tensor in given)


def is_passed_by(candidate: Candidate) -> bool:
    """Whether a state passes by the calls of a candidate, between what one receives and what the next one does."""
    return any(
        passes_by(two.received.get(state.entering), one.received.get(state.entering), [*one.returned.values()])
        for one, two in pairwise(candidate.calls[:CALLS_TRIED])
        for state in candidate.states
    )


def past_those_inside(candidate: Candidate, known: Sequence[Call]) -> bool:
    """Whether a step passes on a state past the calls that are made inside of it."""
    for call in candidate.calls[:CALLS_TRIED]:
        inside = [tensor for one in known if call in one.around() for tensor in one.returned.values()]
        for state in candidate.states:
            later, earlier = call.returned.get(state.leaving or ""), call.received.get(state.entering)
            if inside and passes_by(later, earlier, inside):
                return True
    return False


def passes_by(later: Tensor | None, earlier: Tensor | None, through: Sequence[Tensor]) -> bool:
    """Whether a state depends on an earlier one past other tensors, and not only where a mask holds it fast.

    A mask lets some numbers through as they are and others not at all: samples that have ended, say. None of a state
    that was not seen.
    """
    if later is None or earlier is None or later.shape != earlier.shape:
        return False
    if distance(later, earlier, through) is None:
        return False
    known = [one for one in through if one.requires_grad]
    try:
        past = _derivative_past(later, earlier, known)
    except RuntimeError:
        # What the graph needs has been changed in place: the model itself cannot be trained.
        return False
    stopped, whole = past.abs() < ROUNDING, (past - 1).abs() < ROUNDING
    # What lets all of it through, as a residual does, is no mask.
    return bool(whole.all()) or not bool((stopped | whole).all())


def _derivative_past(later: Tensor, earlier: Tensor, through: Sequence[Tensor]) -> Tensor:
    """Of the sum of a state with respect to an earlier one, but for what runs through other tensors."""

    def vjp(outputs: Sequence[Tensor], inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Sequence[Tensor]:
        return torch.autograd.grad(outputs, inputs, gradients, retain_graph=True, materialize_grads=True)

    whole, *ways = vjp([later], [earlier, *through], [torch.ones_like(later)])
    if not through:
        return whole
    # One of them that another is computed from has the other's part in its derivative, which is to count once.
    alone = ways
    for _ in through[1:]:
        among = vjp(through, through, alone)
        alone = [one + way - part for one, way, part in zip(alone, ways, among, strict=True)]
    (inside,) = vjp(through, [earlier], alone)
    return whole - inside
