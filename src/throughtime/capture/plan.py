"""What is to be followed in a model, decided after one run of it as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from throughtime.capture.errors import ExaminationError
from throughtime.capture.loops import Candidate, candidates, chains, named
from throughtime.capture.modules import RECURRENT_MODULES, SINGLE_STEP_MODULES, is_plain
from throughtime.capture.watch import Call


@dataclass(frozen=True)
class Plan:
    """What is to be followed.

    Args:
        opened: The modules whose equations are known, by qualified name.
        loops: What else is called step by step with what it returned.
        reconnected: Which of the model's detaches cut a recurrence, counted from 0.
    """

    opened: Mapping[str, nn.Module] = field(default_factory=dict)
    loops: Sequence[Candidate] = ()
    reconnected: frozenset[int] = frozenset()


def plan(
    model: nn.Module, calls: Sequence[Call], detached: Sequence[Tensor], recurrence: str | Sequence[str] | None
) -> Plan:
    """Decide what to follow.

    Args:
        model: The model.
        calls: All calls of one run of it.
        detached: What every detach of that run returned.
        recurrence: What the user has named; None to find everything.

    Raises:
        ExaminationError: There is no recurrence, or none of the name; what was found is listed.
    """
    kinds = (*RECURRENT_MODULES, *SINGLE_STEP_MODULES)
    modules = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    if recurrence is None:
        plain = {name: module for name, module in modules.items() if is_plain(module)}
        known = [
            call for call in calls if call.callee.is_module and any(call.callee.module is one for one in plain.values())
        ]
        loops = candidates(calls, known)
        # A layer that is not what it seems can only be followed as a step of a loop.
        stepped = {id(one.callee.module) for one in loops}
        opened = {
            name: module
            for name, module in modules.items()
            if name in plain or (id(module) not in stepped and isinstance(module, RECURRENT_MODULES))
        }
    else:
        names = [recurrence] if isinstance(recurrence, str) else list(recurrence)
        opened = {name: module for name, module in modules.items() if name in names}
        loops = named(calls, [name for name in names if name not in opened])
    if not opened and not loops:
        kinds_found = sorted({type(module).__name__ for module in model.modules()})
        raise ExaminationError(
            "model: no recurrence found. Expected nn.RNN, nn.GRU, nn.LSTM, their cells or a throughtime layer among "
            "its modules, or a module or function that is called step by step and gets back what it returned; found "
            f"{', '.join(kinds_found)}. If its loop is written out in forward, put one step of it into a method"
        )
    return Plan(opened, loops, _cutting(detached, calls, opened, loops))


def _cutting(
    detached: Sequence[Tensor], calls: Sequence[Call], opened: Mapping[str, nn.Module], loops: Sequence[Candidate]
) -> frozenset[int]:
    """The detaches between a state that a recurrence returned and the same state at its next call."""
    received: set[int] = set()
    modules = set(map(id, opened.values()))
    for call in calls:
        if call.callee.is_module and id(call.callee.module) in modules:
            received |= {id(tensor) for place, tensor in call.received.items() if place.startswith("hx")}
    for candidate in loops:
        for chain in chains(candidate, candidate.calls):
            for call in chain[1:]:
                for state in candidate.states:
                    entering = call.received if state.leaving is not None else call.caller
                    if state.entering in entering:
                        received.add(id(entering[state.entering]))
    return frozenset(index for index, tensor in enumerate(detached) if id(tensor) in received)
