"""Loops without a function of their own: something with weights, whose input was computed from its own last output.

Their states are the variables of the function around them that everything from one call to the next but one runs
through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from torch import Tensor

from throughtime.capture.candidate import Candidate, State, in_order, labels
from throughtime.capture.graph import distance
from throughtime.capture.places import inner_name, same
from throughtime.capture.watch import Call, Callee

# A model may cut the graph, or go on at another line, after every few steps.
CALLS_TRIED = 32


def written_out(callee: Callee, calls: Sequence[Call], blocked: Sequence[Tensor]) -> Candidate | None:
    """A candidate whose states are variables around its calls."""
    has_weights = callee.is_module and callee.module is not None and any(True for _ in callee.module.parameters())
    if not (has_weights or callee.is_weight):
        return None
    steps = _three_steps(calls, blocked)
    if steps is None:
        return None
    one, two, three = steps
    # A state is there before the first call, and another tensor of the same shape at every later one.
    places = [
        place
        for place, tensor in two.caller.items()
        if tensor.requires_grad
        and all(place in call.caller and call.caller[place].shape == tensor.shape for call in (calls[0], one, three))
        and not any(same(before.caller[place], after.caller[place]) for before, after in pairwise(steps))
    ]
    at = {place: two.caller[place] for place in places}
    # Of what the calls change, nothing of the step before may come past the states.
    changed = [place for place in places if _depends({place: at[place]}, one.returned.values(), blocked)]
    before = [*one.returned.values(), *(one.caller[place] for place in changed)]
    # Those that the others were computed from come first.
    places.sort(key=lambda place: sum(distance(at[place], at[other]) is not None for other in places))
    cut: list[str] = []
    for place in places:
        if not _depends(three.received, before, [*blocked, *(at[other] for other in cut)]):
            break
        cut.append(place)
    for place in list(cut):
        rest = [at[other] for other in cut if other != place]
        if not _depends(three.received, before, [*blocked, *rest]):
            cut.remove(place)
    if not cut or _depends(three.received, before, [*blocked, *(at[place] for place in cut)]):
        return None
    far = len(at) + 10**6

    def nearness(place: str) -> int:
        found = [distance(tensor, at[place]) for tensor in two.received.values()]
        return min((steps for steps in found if steps is not None), default=far)

    cut.sort(key=nearness)
    names = labels([inner_name(place) for place in cut])
    states = tuple(State(name, place, None) for name, place in zip(names, cut, strict=True))
    return Candidate(callee, callee.owner or "loop", calls, in_order(states))


def _three_steps(calls: Sequence[Call], blocked: Sequence[Tensor]) -> Sequence[Call] | None:
    """Three calls in a row by the same line, of which the last receives what was computed from the first.

    Not the first three, where there are others, since what a loop starts from often has no graph.
    """
    tried = [calls[start : start + 3] for start in (*range(1, min(CALLS_TRIED, len(calls) - 2)), 0)]
    for steps in tried:
        in_line = len({(id(call.after), call.line) for call in steps}) == 1 and steps[0].after
        if len(steps) == 3 and in_line and _depends(steps[2].received, steps[0].returned.values(), blocked):
            return steps
    return None


def outermost(found: Sequence[Candidate], calls: Sequence[Call]) -> list[Candidate]:
    """One candidate per loop: that whose calls begin its iterations. Loops one after the other are apart."""
    order = {call: number for number, call in enumerate(calls)}
    kept: list[Candidate] = []
    for one in sorted(found, key=lambda one: order[one.calls[0]]):
        if not any(
            one.calls[0].after is other.calls[0].after
            and not _places(one).isdisjoint(_places(other))
            and order[one.calls[0]] < order[other.calls[-1]]
            for other in kept
        ):
            kept.append(one)
    return kept


def _places(candidate: Candidate) -> set[str]:
    return {state.entering for state in candidate.states}


def goes_on(candidate: Candidate, one: Call, other: Call) -> bool:
    """Whether any state around a call was computed from what an earlier one returned."""
    entering = {
        state.entering: other.caller[state.entering] for state in candidate.states if state.entering in other.caller
    }
    return _depends(entering, one.returned.values(), ())


def last_value(state: State, chain: Sequence[Call], entered: Sequence[Tensor | None]) -> Tensor | None:
    """What the last step led to: the last value of the variable that is as far from what the call returned as before.

    Further ones are what the model makes of it after the loop.
    """
    before, call = entered[-1], chain[-1]
    usual = {_apart(value, one) for one, value in zip(chain, entered[1:], strict=False) if value is not None}
    for value in reversed(call.left.get(state.entering, [])):
        if before is None or value is before or value.shape != before.shape:
            continue
        apart = _apart(value, call)
        if apart is not None and (apart in usual or len(usual) > 1):
            return value
    return None


def _apart(value: Tensor, call: Call) -> int | None:
    """How many operations lie between what a call returned and a value; None where it was not computed from it."""
    found = [distance(value, one) for one in call.returned.values()]
    return min((steps for steps in found if steps is not None), default=None)


def _depends(received: dict[str, Tensor], returned: Iterable[Tensor], blocked: Sequence[Tensor]) -> bool:
    # What is itself blocked, as a state that a call returned as it is, is reached through nothing else.
    walls = {(one.grad_fn, one.output_nr) for one in blocked if one.grad_fn is not None}
    earlier = [one for one in returned if (one.grad_fn, one.output_nr) not in walls]
    return any(distance(later, one, blocked) is not None for later in received.values() for one in earlier)
