"""Finding the recurrences that nobody named: what is called again and again, and gets back what it returned.

A call is linked to an earlier one of the same module or function where it receives a tensor that the earlier one
returned, the tensor itself or another view of its memory. Where nothing is linked so, because the model changes the
state between calls or runs the loop without a function of its own, a module with weights is looked for whose input was
computed from its own last output; the states are then the variables of the function around the loop that everything
from one call to the next but one runs through.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from throughtime.capture.errors import ExaminationError
from throughtime.capture.graph import distance
from throughtime.capture.watch import Call, Callee, Key

# What a first argument may be called that is the input of a step, not its state, even where a model feeds it what the
# step before returned.
_INPUTS = re.compile(r"^(x|u|y|in|inp|input|inputs|token|tokens|emb|embedded|embedding|features|obs|data)(_?t)?$", re.I)
# A state need not be read at every step, but at one of so many.
CALLS_READ = 32
# What states are called that are hidden or carried for certain.
_HIDDEN, _CARRIED = re.compile(r"^(h|hx|h_.*|hidden.*)$", re.I), re.compile(r"^(c|cx|c_.*|cell.*)$", re.I)


@dataclass(frozen=True)
class State:
    """One state of a loop, and where it is found.

    Args:
        name: Its label: "h", "c", "s3", ...
        entering: The place among what a call receives, or among the variables of its caller.
        leaving: The place among what a call returns; None where the loop makes the state outside of the call.
    """

    name: str
    entering: str
    leaving: str | None


@dataclass(frozen=True)
class Candidate:
    """A module or function that may be followed.

    Args:
        callee: What is called.
        name: What its recurrence is called.
        calls: All of its calls.
        states: Its states.
    """

    callee: Callee
    name: str
    calls: Sequence[Call] = field(repr=False)
    states: tuple[State, ...]

    @property
    def key(self) -> Key:
        """By which it is recognised in another run."""
        return self.callee.key

    @property
    def inline(self) -> bool:
        """Whether the states are variables around the call rather than what it receives and returns."""
        return self.states[0].leaving is None


def candidates(calls: Sequence[Call], known: Sequence[Call]) -> list[Candidate]:
    """The loops of a model run that are to be followed.

    Args:
        calls: All calls of the run.
        known: Those among them of modules whose equations are known, which are followed in any case.
    """
    given = set(known)
    by_callee = _by_callee(call for call in calls if call not in given)
    passed = [one for callee, its in by_callee.items() if (one := _linked(callee, its, _passed_on(its))) is not None]
    copied = [
        one
        for callee, its in by_callee.items()
        if all(
            callee is not other.callee and not _inside(its, other.calls) and not _inside(other.calls, its)
            for other in passed
        )
        and (one := _linked(callee, its, _copied(its))) is not None
    ]
    linked = [*passed, *copied]
    kept = [one for one in linked if not _explained(one, linked, known)]
    if kept:
        return kept
    blocked = [tensor for call in known for tensor in call.returned.values()]
    inner = [found for callee, its in by_callee.items() if (found := _inline(callee, its, blocked)) is not None]
    return _outermost_loops(inner, calls)


def named(calls: Sequence[Call], names: Sequence[str], modules: Iterable[str] = ()) -> list[Candidate]:
    """The loops that the user has named.

    Args:
        calls: All calls of a run of the model.
        names: What was named.
        modules: Names of recurrent modules, which might have been meant.

    Raises:
        ExaminationError: A name is none of something called at least twice; those that might be meant are listed.
    """
    by_callee = _by_callee(calls)
    found = []
    for name in names:
        its = [(callee, some) for callee, some in by_callee.items() if callee.name == name]
        made = [one for callee, some in its if (one := _any(callee, some)) is not None]
        if not made:
            others = sorted({callee.name for callee, some in by_callee.items() if _any(callee, some) is not None})
            again = sorted({callee.name for callee, some in by_callee.items() if len(some) > 1} - set(others))
            recurrent = sorted(repr(one) for one in modules)
            raise ExaminationError(
                f"recurrence: {name!r} is not called step by step with what it returned before. "
                + (f"Recurrent modules: {', '.join(recurrent)}. " if recurrent else "")
                + (f"Called so: {', '.join(others)}. " if others else "")
                + (f"Called more than once: {', '.join(again[:12])}." if again else "Nothing is called more than once.")
            )
        found += made[:1]
    return found


def chains(candidate: Candidate, calls: Sequence[Call]) -> list[list[Call]]:
    """The calls of a candidate in the order of its steps, one list for every sequence it went through."""
    found: list[list[Call]] = []
    if candidate.inline:
        by_caller: dict[int, list[Call]] = {}
        for call in calls:
            by_caller.setdefault(id(call.after), []).append(call)
        return list(by_caller.values())
    state = candidate.states[0]
    assert state.leaving is not None
    for call in calls:
        entering = call.received.get(state.entering)
        chain = None
        if entering is not None:
            ended = [one for one in found if state.leaving in one[-1].returned]
            chain = next((one for one in ended[::-1] if same(entering, one[-1].returned[state.leaving])), None)
            if chain is None:
                chain = next(
                    (one for one in ended[::-1] if distance(entering, one[-1].returned[state.leaving]) is not None),
                    None,
                )
        if chain is None:
            found.append([call])
        else:
            chain.append(call)
    return found


def sequences(candidate: Candidate, calls: Sequence[Call]) -> list[list[Call]]:
    """The chains of a candidate; loops without a function of their own are apart where one starts anew.

    That can be told only where no detach cuts the graph between two steps.
    """
    found: list[list[Call]] = []
    for chain in chains(candidate, calls):
        for place, call in enumerate(chain):
            if place == 0 or (candidate.inline and not _goes_on(candidate, chain[place - 1], call)):
                found.append([])
            found[-1].append(call)
    return found


def _goes_on(candidate: Candidate, one: Call, other: Call) -> bool:
    """Whether any state around a call was computed from what an earlier one returned."""
    entering = {
        state.entering: other.caller[state.entering] for state in candidate.states if state.entering in other.caller
    }
    return _depends(entering, one.returned.values(), ())


def visited(candidate: Candidate, chain: Sequence[Call]) -> dict[str, list[Tensor | None]]:
    """By state, s_0 .. s_T along a chain; None where one was not seen."""
    states: dict[str, list[Tensor | None]] = {}
    for state in candidate.states:
        if state.leaving is None:
            entered = [_entering(call, state) for call in chain]
            states[state.name] = [*entered, _last(state, chain, entered)]
        else:
            left = [call.returned.get(state.leaving) for call in chain]
            states[state.name] = [_entering(chain[0], state), *left]
    return states


def _last(state: State, chain: Sequence[Call], entered: Sequence[Tensor | None]) -> Tensor | None:
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


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are one, or views of the same memory."""
    return one is other or (
        one.shape == other.shape
        and one.storage_offset() == other.storage_offset()
        and one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
    )


def _entering(call: Call, state: State) -> Tensor | None:
    if state.leaving is None:
        return call.caller.get(state.entering)
    return call.received.get(state.entering)


def _by_callee(calls: Iterable[Call]) -> dict[Callee, list[Call]]:
    found: dict[Callee, list[Call]] = {}
    for call in calls:
        found.setdefault(call.callee, []).append(call)
    return {callee: its for callee, its in found.items() if len(its) > 1}


def _linked(callee: Callee, calls: Sequence[Call], pairs: Counter[tuple[str, str]]) -> Candidate | None:
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
    names = _names([_inner_name(place) for place in places])
    states = tuple(State(name, place, best[place]) for name, place in zip(names, places, strict=True))
    return Candidate(callee, callee.name, calls, _ordered(states))


def _any(callee: Callee, calls: Sequence[Call]) -> Candidate | None:
    """A candidate by whatever way its states pass on."""
    return _linked(callee, calls, _passed_on(calls) or _copied(calls)) or _inline(callee, calls, ())


def _inside(some: Sequence[Call], others: Sequence[Call]) -> bool:
    """Whether any of the calls was made from inside any of the others."""
    around = set(others)
    return any(not around.isdisjoint(call.around()) for call in some)


def _passed_on(calls: Sequence[Call]) -> Counter[tuple[str, str]]:
    """How often what was returned at one place was received at another: the very tensor, or a view of its memory."""
    returned: dict[tuple[int, ...], str] = {}
    pairs: Counter[tuple[str, str]] = Counter()
    for call in calls:
        for place, tensor in call.received.items():
            back = returned.get(_memory(tensor))
            # What grows from call to call, a list of outputs say, is no state.
            if back is not None and back in call.returned and call.returned[back].shape == tensor.shape:
                pairs[place, back] += 1
        unchanged = {_memory(tensor) for tensor in call.received.values()}
        for place, tensor in call.returned.items():
            if tensor.requires_grad and _memory(tensor) not in unchanged:
                returned.setdefault(_memory(tensor), place)
    return pairs


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
        _memory(tensor) != _memory(received) and distance(tensor, received, others) is not None
        for tensor in call.returned.values()
    )


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


def _copied(calls: Sequence[Call]) -> Counter[tuple[str, str]]:
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
                    and _memory(tensor) not in map(_memory, before.received.values())
                    and torch.equal(received, tensor)
                    and distance(received, tensor) is not None
                ):
                    pairs[place, back] += 1
    return pairs


def _explained(one: Candidate, all_linked: Sequence[Candidate], known: Sequence[Call]) -> bool:
    """Whether a candidate only passes on what another recurrence, inside or around it, is about."""
    if _inside(known, one.calls) or _inside(one.calls, known):
        return True
    returned = {_memory(tensor) for call in one.calls for tensor in call.returned.values()}
    for other in all_linked:
        if other is one:
            continue
        # Of two that hand on the same states a module goes before a function, and what is inside before what is around.
        module, others_module = one.callee.is_module, other.callee.is_module
        if (others_module or not module) and _inside(other.calls, one.calls) and _left(other) & returned:
            return True
        if others_module and not module and _inside(one.calls, other.calls) and _left(other) & _left(one):
            return True
    return False


def _left(candidate: Candidate) -> set[tuple[int, ...]]:
    """Where the states that its calls leave behind are in memory."""
    return {
        _memory(call.returned[state.leaving])
        for call in candidate.calls
        for state in candidate.states
        if state.leaving in call.returned
    }


def _inline(callee: Callee, calls: Sequence[Call], blocked: Sequence[Tensor]) -> Candidate | None:
    """A candidate whose states are variables around its calls."""
    if not callee.is_module or callee.module is None or not any(True for _ in callee.module.parameters()):
        return None
    if len(calls) < 3 or len({id(call.after) for call in calls[:3]}) > 1 or not calls[0].after:
        return None
    one, two, three = calls[:3]
    if not _depends(three.received, one.returned.values(), blocked):
        return None
    # A state is there before the first call, and another tensor of the same shape at every later one.
    places = [
        place
        for place, tensor in two.caller.items()
        if place in one.caller
        and place in three.caller
        and tensor.requires_grad
        and one.caller[place].shape == tensor.shape == three.caller[place].shape
        and not same(one.caller[place], tensor)
    ]
    at = {place: two.caller[place] for place in places}
    # Those that the others were computed from come first.
    places.sort(key=lambda place: sum(distance(at[place], at[other]) is not None for other in places))
    cut: list[str] = []
    for place in places:
        if not _depends(three.received, one.returned.values(), [*blocked, *(at[other] for other in cut)]):
            break
        cut.append(place)
    for place in list(cut):
        rest = [at[other] for other in cut if other != place]
        if not _depends(three.received, one.returned.values(), [*blocked, *rest]):
            cut.remove(place)
    if not cut or _depends(three.received, one.returned.values(), [*blocked, *(at[place] for place in cut)]):
        return None
    far = len(at) + 10**6

    def nearness(place: str) -> int:
        found = [distance(tensor, at[place]) for tensor in two.received.values()]
        return min((steps for steps in found if steps is not None), default=far)

    cut.sort(key=nearness)
    names = _names([_inner_name(place) for place in cut])
    states = tuple(State(name, place, None) for name, place in zip(names, cut, strict=True))
    owner = callee.name.rpartition(".")[0]
    return Candidate(callee, owner or "loop", calls, _ordered(states))


def _outermost_loops(found: Sequence[Candidate], calls: Sequence[Call]) -> list[Candidate]:
    """One candidate per loop and state: that whose calls begin its iterations. Loops one after the other are apart."""
    order = {call: number for number, call in enumerate(calls)}
    kept: list[Candidate] = []
    for one in sorted(found, key=lambda one: order[one.calls[0]]):
        if not any(
            one.calls[0].after is other.calls[0].after
            and one.states[0].entering == other.states[0].entering
            and order[one.calls[0]] < order[other.calls[-1]]
            for other in kept
        ):
            kept.append(one)
    return kept


def _depends(received: dict[str, Tensor], returned: Iterable[Tensor], blocked: Sequence[Tensor]) -> bool:
    # What is itself blocked, as a state that a call returned as it is, is reached through nothing else.
    walls = {one.grad_fn for one in blocked if one.grad_fn is not None}
    earlier = [one for one in returned if one.grad_fn not in walls]
    return any(distance(later, one, blocked) is not None for later in received.values() for one in earlier)


def _memory(tensor: Tensor) -> tuple[int, ...]:
    return (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), *tensor.shape)


def _ordered(states: Iterable[State]) -> tuple[State, ...]:
    """h first, then c, then the others."""
    return tuple(sorted(states, key=lambda state: {"h": "0", "c": "1"}.get(state.name, state.name)))


def _names(given: Sequence[str]) -> list[str]:
    """Labels: h and c by their own names where these say so, otherwise in the order in which they stand."""
    if len(given) == 2 and _CARRIED.match(given[0]) and _HIDDEN.match(given[1]):
        return ["c", "h"]
    return [("h", "c")[index] if index < 2 else f"s{index + 1}" for index in range(len(given))]


def outer_name(place: str) -> str:
    """Of "state[0]" the part "state", of "self.memory" the part "self"."""
    return re.split(r"[.\[]", place, maxsplit=1)[0]


def _inner_name(place: str) -> str:
    """Of "state.h" the part "h", of "state['c']" the part "c"."""
    return re.findall(r"[A-Za-z_]\w*", place)[-1] if re.search(r"[A-Za-z_]", place) else place
