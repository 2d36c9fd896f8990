"""Finding the recurrences that nobody named: what is called again and again, and gets back what it returned.

Where no call gets back what an earlier one returned, because the model runs the loop without a function of its own,
loops that are written out are looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from throughtime.capture.candidate import Candidate, State, inside
from throughtime.capture.carried_past import around_calls, is_passed_by, past_those_inside
from throughtime.capture.errors import ExaminationError
from throughtime.capture.graph import distance
from throughtime.capture.passed_on import copied_on, explained, linked, passed_on
from throughtime.capture.places import same
from throughtime.capture.watch import Call, Callee
from throughtime.capture.written_out import goes_on, last_value, outermost, written_out


def candidates(calls: Sequence[Call], known: Sequence[Call]) -> list[Candidate]:
    """The loops of a model run that are to be followed.

    Args:
        calls: All calls of the run.
        known: Those among them of modules whose equations are known, which are followed in any case.
    """
    given = set(known)
    by_callee = _by_callee(call for call in calls if call not in given)
    steps = {callee: its for callee, its in by_callee.items() if not callee.is_weight}
    passed = [one for callee, its in steps.items() if (one := linked(callee, its, passed_on(its))) is not None]
    copied = [
        one
        for callee, its in steps.items()
        if all(
            callee is not other.callee and not inside(its, other.calls) and not inside(other.calls, its)
            for other in passed
        )
        and (one := linked(callee, its, copied_on(its))) is not None
    ]
    found = [*passed, *copied]
    kept = [one for one in found if not explained(one, found, known)]
    blocked = [tensor for call in known for tensor in call.returned.values()]
    tried = [written_out(callee, its, blocked, calls) for callee, its in by_callee.items()]
    written = [one for one in tried if one is not None]
    if not kept:
        return outermost(written, calls)
    loops: list[Candidate] = []
    for one in kept:
        # What a state passes by is a part of the step: the loop is around it.
        beside = {id(call.after) for call in one.calls} if is_passed_by(one) else set()
        around = outermost([loop for loop in written if id(loop.calls[0].after) in beside], calls)
        loops += [loop for loop in around or [one] if loop not in loops]
    return loops


def around_known(calls: Sequence[Call], known: Sequence[Call]) -> list[Candidate]:
    """The loops that carry a state past modules whose equations are known, which are then only a part of a step.

    Args:
        calls: All calls of the run.
        known: Those among them of such modules.
    """
    around = [around_calls(callee, its, calls) for callee, its in _by_callee(known).items()]
    found = outermost([loop for loop in around if loop is not None], calls)
    given = set(known)
    steps = [
        one
        for callee, its in _by_callee(call for call in calls if call not in given).items()
        if not callee.is_weight
        and inside(known, its)
        and (one := linked(callee, its, passed_on(its))) is not None
        and past_those_inside(one, known)
    ]
    return found + [one for one in steps if not explained(one, steps, ())]


def named(
    calls: Sequence[Call], names: Sequence[str], found: Sequence[Candidate] = (), modules: Iterable[str] = ()
) -> list[Candidate]:
    """The loops that the user has named.

    Args:
        calls: All calls of a run of the model.
        names: What was named.
        found: What is followed where nothing is named.
        modules: Names of recurrent modules, which might have been meant.

    Raises:
        ExaminationError: A name is none of something called at least twice; those that might be meant are listed.
    """
    by_callee = _by_callee(calls)
    followed = []
    for name in names:
        its = [(callee, some) for callee, some in by_callee.items() if callee.name == name]
        made = [one for callee, some in its if (one := _any(callee, some)) is not None][:1]
        made = made or [one for one in found if one.name == name]
        if not made:
            raise ExaminationError(_not_followed(name, by_callee, found, modules))
        followed += made
    return followed


def _not_followed(
    name: str, by_callee: Mapping[Callee, Sequence[Call]], found: Sequence[Candidate], modules: Iterable[str]
) -> str:
    linked_ones = {callee.name for callee, its in by_callee.items() if _any(callee, its) is not None}
    others = sorted({one.name for one in found} | linked_ones)
    again = sorted({callee.name for callee in by_callee if not callee.is_weight} - set(others))
    recurrent = sorted(repr(one) for one in modules)
    return (
        f"recurrence: {name!r} is not called step by step with what it returned before. "
        + (f"Recurrent modules: {', '.join(recurrent)}. " if recurrent else "")
        + (f"Called so: {', '.join(others)}. " if others else "")
        + (f"Called more than once: {', '.join(again[:12])}." if again else "")
        + ("" if by_callee else "Nothing is called more than once.")
    ).rstrip()


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
            if place == 0 or (candidate.inline and not goes_on(candidate, chain[place - 1], call)):
                found.append([])
            found[-1].append(call)
    return found


def visited(candidate: Candidate, chain: Sequence[Call]) -> dict[str, list[Tensor | None]]:
    """By state, s_0 .. s_T along a chain; None where one was not seen."""
    states: dict[str, list[Tensor | None]] = {}
    for state in candidate.states:
        if state.leaving is None:
            entered = [_entering(call, state) for call in chain]
            states[state.name] = [*entered, last_value(state, chain, entered)]
        else:
            left = [call.returned.get(state.leaving) for call in chain]
            states[state.name] = [_entering(chain[0], state), *left]
    return states


def _entering(call: Call, state: State) -> Tensor | None:
    if state.leaving is None:
        return call.caller.get(state.entering)
    return call.received.get(state.entering)


def _by_callee(calls: Iterable[Call]) -> dict[Callee, list[Call]]:
    found: dict[Callee, list[Call]] = {}
    for call in calls:
        found.setdefault(call.callee, []).append(call)
    return {callee: its for callee, its in found.items() if len(its) > 1}


def _any(callee: Callee, calls: Sequence[Call]) -> Candidate | None:
    """A candidate by whatever way its states pass on."""
    by_call = None if callee.is_weight else linked(callee, calls, passed_on(calls) or copied_on(calls))
    return by_call or written_out(callee, calls, ())
