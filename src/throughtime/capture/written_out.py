"""Loops without a function of their own: something with weights, whose input was computed from its own last output.

Their states are the variables of the function around them that everything from one call to the next but one runs
through.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from torch import Tensor

from throughtime.capture.candidate import Candidate, State, in_order, labels
from throughtime.capture.graph import distance
from throughtime.capture.places import inner_name, same
from throughtime.capture.watch import Call, Callee

# A model may cut the graph after every few steps.
CALLS_TRIED = 32


def written_out(
    callee: Callee, calls: Sequence[Call], blocked: Sequence[Tensor], every: Sequence[Call] = ()
) -> Candidate | None:
    """A candidate whose states are variables around its calls.

    Args:
        callee: What is called; a function counts where all of its calls work with the same weights.
        calls: All of its calls.
        blocked: Tensors beyond which no way back is looked for.
        every: All calls of the run, of which what is called between two steps tells loops from stacks of layers.
    """
    if not callee.has_weights and not _works_with_the_same(calls, every):
        return None
    # Steps may call a module by lines in turn, or each by several lines, of which the first counts. Weights are told by
    # their lines in any case: what one of them scales in many places is no loop.
    if callee.is_module and (found := _by_variables(callee, calls, blocked, every)) is not None:
        return found
    by_line: dict[int, list[Call]] = {}
    for call in calls:
        by_line.setdefault(call.line, []).append(call)
    loops = {
        line: found
        for line, its in by_line.items()
        if (found := _by_variables(callee, its, blocked, every)) is not None
    }
    if not loops:
        return None
    first, found = next(iter(loops.items()))
    lines = {line for line in loops if line == first or not _interleaved(by_line[first], by_line[line])}
    return replace(found, calls=[call for call in calls if call.line in lines], lines=frozenset(lines))


def _works_with_the_same(calls: Sequence[Call], every: Sequence[Call]) -> bool:
    """Whether the first calls of a function lead to the same weights: a block of layers has others at every call."""
    first = calls[:CALLS_TRIED]
    inside: dict[Call, set[Callee]] = {call: set() for call in first}
    for call in every:
        if call.callee.has_weights:
            for outer in call.around():
                if outer in inside:
                    inside[outer].add(call.callee)
    sets = list(inside.values())
    return bool(sets[0]) and all(one == sets[0] for one in sets)


def _interleaved(some: Sequence[Call], others: Sequence[Call]) -> bool:
    """Whether any of the others was made between two of the calls of a function that was run once."""
    ranges: dict[int, list[int]] = {}
    for call in some:
        ranges.setdefault(id(call.after), []).append(call.number)
    return any(
        min(numbers) < call.number < max(numbers)
        for call in others
        if (numbers := ranges.get(id(call.after))) is not None
    )


def _by_variables(
    callee: Callee, calls: Sequence[Call], blocked: Sequence[Tensor], every: Sequence[Call]
) -> Candidate | None:
    steps = _three_steps(calls, blocked)
    if steps is None or _is_stack(steps, every):
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
    places = _still_there(places, two, calls[-1])
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
    """Three calls in a row, of which the last receives what was computed from the first.

    Not the first three, where there are others, since what a loop starts from often has no graph.
    """
    tried = [calls[start : start + 3] for start in (*range(1, min(CALLS_TRIED, len(calls) - 2)), 0)]
    for steps in tried:
        together = len({id(call.after) for call in steps}) == 1 and steps[0].after
        if len(steps) == 3 and together and _depends(steps[2].received, steps[0].returned.values(), blocked):
            return steps
    return None


def _is_stack(steps: Sequence[Call], every: Sequence[Call]) -> bool:
    """Whether every step goes through something with weights of its own: layers that share a scale, say, are no steps.

    What a step only hands its result to, a readout of its own, does not count.
    """
    around = [call for call in every if call.after is steps[0].after and call.callee.has_weights]
    between = [[call for call in around if one.number < call.number < two.number] for one, two in pairwise(steps)]
    for (_, two), its in zip(pairwise(steps), between, strict=True):
        others = {call.callee for call in around if call not in its}
        own = [call for call in its if call.callee not in others]
        if not any(_depends(two.received, call.returned.values(), ()) for call in own):
            return False
    return True


def _still_there(places: Sequence[str], call: Call, last: Call) -> list[str]:
    """Of places that hold the same tensor one: what holds what the last step led to when the caller ends, if any."""

    def lasts(place: str) -> bool:
        value = last.after.get(place)
        return value is not None and _apart(value, last) is not None

    kept: dict[int, str] = {}
    for place in sorted(places, key=lasts, reverse=True):
        kept.setdefault(id(call.caller[place]), place)
    return [place for place in places if place in kept.values()]


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

    Further ones are what the model makes of it after the loop. Where the variable holds only what a step starts from,
    that of another one which held the same. Other calls may have been seen in between.
    """
    before, call = entered[-1], chain[-1]
    if before is None:
        return None
    usual = {_apart(value, one) for one, value in zip(chain, entered[1:], strict=False) if value is not None}
    places = (state.entering, *(place for place, value in call.caller.items() if value is before))
    elsewhere = [call.after[place] for place in places if place in call.after]
    for value in (*reversed(call.left.get(state.entering, [])), *elsewhere):
        if value is before or value.shape != before.shape:
            continue
        apart = _apart(value, call)
        # What a step only hands on was never computed from what it called.
        if usual == {None} if apart is None else (apart in usual or len(usual) > 1):
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
