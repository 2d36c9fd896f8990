"""Loops whose steps are calls: of a module or function that receives what an earlier call of it returned.

The tensor itself, another view of its memory, or a copy of it, or what the model made of it between the two.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch

from throughtime.capture.candidate import Candidate, State, in_order, inside, labels
from throughtime.capture.graph import distance
from throughtime.capture.places import inner_name, memory_of, outer_name, same
from throughtime.capture.watch import Call, Callee

# What a first argument may be called that is the input of a step, not its state, even where a model feeds it what the
# step before returned.
_INPUTS = re.compile(r"^(x|u|y|in|inp|input|inputs|token|tokens|emb|embedded|embedding|features|obs|data)(_?t)?$", re.I)
# A state need not be read at every step, but at one of so many.
CALLS_READ = 32


def linked(callee: Callee, calls: Sequence[Call], pairs: Counter[tuple[str, str]]) -> Candidate | None:
    """A candidate from calls that receive what an earlier one returned."""
    best: dict[str, str] = {}
    for (place, back), _ in pairs.most_common():
        best.setdefault(place, back)
    first = outer_name(next(iter(calls[0].received)))
    inputs = [place for place in best if outer_name(place) == first and _INPUTS.match(first)]
    if len(inputs) < len(best):
        best = {place: back for place, back in best.items() if place not in inputs}
    if not best:
        return None
    # A state that a module keeps for itself, and is given besides, is one.
    given = {back for place, back in best.items() if outer_name(place) != "self"}
    best = {place: back for place, back in best.items() if outer_name(place) != "self" or back not in given}
    best |= _changed_between(calls, best)
    # What is only kept to be looked at, attention weights say, is no state.
    best = {place: best[place] for place in _read(best, calls)} or best
    order = [place for call in calls for place in call.received if place in best]
    places = sorted(best, key=order.index)
    names = labels([inner_name(place) for place in places])
    states = tuple(State(name, place, best[place]) for name, place in zip(names, places, strict=True))
    return Candidate(callee, callee.name, calls, in_order(states))


def passed_on(calls: Sequence[Call]) -> Counter[tuple[str, str]]:
    """How often what was returned at one place was received at another: the very tensor, or a view of its memory."""
    returned: dict[tuple[int, ...], str] = {}
    pairs: Counter[tuple[str, str]] = Counter()
    for call in calls:
        for place, tensor in call.received.items():
            back = returned.get(memory_of(tensor))
            # What grows from call to call, a list of outputs say, is no state.
            if back is not None and back in call.returned and call.returned[back].shape == tensor.shape:
                pairs[place, back] += 1
        unchanged = {memory_of(tensor) for tensor in call.received.values()}
        for place, tensor in call.returned.items():
            if tensor.requires_grad and memory_of(tensor) not in unchanged:
                returned.setdefault(memory_of(tensor), place)
    return pairs


def copied_on(calls: Sequence[Call]) -> Counter[tuple[str, str]]:
    """How often what was returned at one place was received at another as a copy: through a stack of all layers."""
    pairs: Counter[tuple[str, str]] = Counter()
    for before, call in pairwise(calls):
        for place, received in call.received.items():
            for back, tensor in before.returned.items():
                if (
                    received.requires_grad
                    and received.shape == tensor.shape
                    and back in call.returned
                    and call.returned[back].shape == tensor.shape
                    and memory_of(tensor) not in map(memory_of, before.received.values())
                    and torch.equal(received, tensor)
                    and distance(received, tensor) is not None
                ):
                    pairs[place, back] += 1
    return pairs


def _changed_between(calls: Sequence[Call], states: Mapping[str, str]) -> dict[str, str]:
    """Further states, that the model changes between two calls: computed from what was returned, but not by way of a
    state that is passed on as it is."""
    one, two = calls[:2]
    blocked = [one.returned[back] for back in states.values() if back in one.returned]
    found: dict[str, str] = {}
    first = outer_name(next(iter(one.received)))
    for place, tensor in two.received.items():
        if place in states or outer_name(place) == "self" or (outer_name(place) == first and _INPUTS.match(first)):
            continue
        for back, before in one.returned.items():
            if back in {*states.values(), *found.values()} or before.shape != tensor.shape:
                continue
            if outer_name(back) != "self" and before.requires_grad and distance(tensor, before, blocked) is not None:
                found[place] = back
                break
    return found


def _read(states: Mapping[str, str], calls: Sequence[Call]) -> set[str]:
    """The places of those of which any of the first calls computes something, or the next one at another such place."""
    first = calls[:CALLS_READ]
    found = {place for place in states if any(_computes(call, place, states) for call in first)}
    while further := {
        place
        for place in states.keys() - found
        if any(
            place in one.received
            and place_after in two.received
            and same(one.received[place], two.received[place_after])
            for one, two in pairwise(first)
            for place_after in found
        )
    }:
        found |= further
    return found


def _computes(call: Call, place: str, states: Mapping[str, str]) -> bool:
    """Whether a call computes something of what it finds at a place, other than by way of its other states."""
    received = call.received.get(place)
    if received is None:
        return False
    others = [call.received[other] for other in states if other != place and other in call.received]
    return any(
        memory_of(tensor) != memory_of(received) and distance(tensor, received, others) is not None
        for tensor in call.returned.values()
    )


def explained(one: Candidate, all_linked: Sequence[Candidate], known: Sequence[Call]) -> bool:
    """Whether a candidate only passes on what another recurrence, inside or around it, is about."""
    if inside(known, one.calls) or inside(one.calls, known):
        return True
    returned = {memory_of(tensor) for call in one.calls for tensor in call.returned.values()}
    for other in all_linked:
        if other is one:
            continue
        # Of two that hand on the same states a module goes before a function, and what is inside before what is around.
        module, others_module = one.callee.is_module, other.callee.is_module
        if (others_module or not module) and inside(other.calls, one.calls) and _left(other) & returned:
            return True
        if others_module and not module and inside(one.calls, other.calls) and _left(other) & _left(one):
            return True
    return False


def _left(candidate: Candidate) -> set[tuple[int, ...]]:
    """Where the states that its calls leave behind are in memory."""
    return {
        memory_of(call.returned[state.leaving])
        for call in candidate.calls
        for state in candidate.states
        if state.leaving in call.returned
    }
