"""What is to be followed in a model, decided after one run of it as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from throughtime.capture.candidate import Candidate
from throughtime.capture.errors import ExaminationError
from throughtime.capture.inputs import InputPlan, input_plan
from throughtime.capture.loops import around_known, candidates, chains, named, sequences
from throughtime.capture.modules import RECURRENT_MODULES, SINGLE_STEP_MODULES, is_plain_cell, named_modules
from throughtime.capture.own_run import OwnRun
from throughtime.capture.watch import Call
from throughtime.capture.written_out import outermost
from throughtime.notation import INPUTS


@dataclass(frozen=True)
class Plan:
    """What is to be followed.

    Args:
        opened: The modules whose equations are known, by qualified name.
        loops: What else is called step by step with what it returned.
        reconnected: Which of the model's detaches cut a recurrence, counted from 0.
        inputs: The input, where it is followed too.
        left_out: The recurrences that were found and are not followed, by name.
    """

    opened: Mapping[str, nn.Module] = field(default_factory=dict)
    loops: Sequence[Candidate] = ()
    reconnected: frozenset[int] = frozenset()
    inputs: InputPlan | None = None
    left_out: tuple[str, ...] = ()


def plan(
    model: nn.Module,
    inputs: Any,
    seen: OwnRun,
    recurrence: str | Sequence[str] | None = None,
    time_axis: int | None = None,
) -> Plan:
    """Decide what to follow. Where there is no recurrence, the input is.

    Args:
        model: The model.
        inputs: What it is called with.
        seen: One run of it.
        recurrence: What the user has named; None to find everything.
        time_axis: Of the input, where the user says it.

    Raises:
        ExaminationError: There is no recurrence of a name; what was found is listed. Or the input cannot be followed.
    """
    calls, modules = seen.calls, openable(model)
    opened_ids = set(map(id, modules.values()))
    known = [call for call in calls if call.callee.is_module and id(call.callee.module) in opened_ids]
    around = around_known(calls, known) if recurrence is None else []
    steps = {call for one in around for call in one.calls}
    # What is called is a part of the step, and no recurrence of its own.
    parts = {id(call.callee.module) for call in known if call in steps or not steps.isdisjoint(call.around())}
    modules = {name: module for name, module in modules.items() if id(module) not in parts}
    known = [call for call in known if id(call.callee.module) not in parts]
    found_loops = _all_loops(calls, known, around, steps)
    # Where the model itself is a layer, all that is called belongs to it.
    found_loops = [] if "" in modules else found_loops
    loops = [one for one in found_loops if not _over_depth(one, len(seen.losses))]
    opened, names = modules, [INPUTS] if recurrence is None else []
    left_out: tuple[str, ...] = ()
    if recurrence is not None:
        names = [recurrence] if isinstance(recurrence, str) else list(recurrence)
        found = {*modules, *(one.name for one in loops)}
        opened = openable(model, recurrence)
        others = [one for one in names if one != INPUTS and not any(_means(one, name) for name in opened)]
        loops = named(calls, others, found_loops, modules)
        left_out = tuple(sorted(found - {*opened, *(one.name for one in loops)}))
    compiled = [one.name for one in loops if isinstance(one.callee.module, torch.jit.ScriptModule)]
    if recurrence is None and not opened and not loops:
        compiled = [name or "it" for name, one in named_modules(model) if isinstance(one, torch.jit.ScriptModule)]
    if compiled:
        raise ExaminationError(
            f"model: {compiled[0]} is compiled by TorchScript, which hides what happens at its steps; examine the "
            "module that it was made from"
        )
    wanted = INPUTS in names and (recurrence is not None or not (opened or loops))
    if wanted and seen.problem is not None:
        raise seen.problem
    followed = input_plan(model, inputs, len(seen.losses), time_axis) if wanted else None
    return Plan(opened, loops, _cutting(seen.detached, calls, opened, loops), followed, left_out)


def _all_loops(
    calls: Sequence[Call], known: Sequence[Call], around: Sequence[Candidate], steps: Set[Call]
) -> list[Candidate]:
    """Those around recurrent modules, of these steps, and all others beside; of what several calls tell of, one."""
    apart = steps | {outer for call in steps for outer in call.around()}
    others = [call for call in calls if call not in apart and steps.isdisjoint(call.around())]
    found = [*around, *candidates(others, known)]
    written = outermost([one for one in found if one.inline], calls)
    return [one for one in found if not one.inline or one in written]


def _over_depth(candidate: Candidate, losses: int) -> bool:
    """Whether a loop that is written out goes through layers, not through time: its states hold all steps of time."""
    if not candidate.inline or losses == 1:
        return False
    steps = {len(chain) for chain in sequences(candidate, candidate.calls)}
    states = [candidate.calls[-1].caller[state.entering] for state in candidate.states]
    return losses not in steps and all(state.dim() > 2 and losses in state.shape for state in states)


def openable(model: nn.Module, recurrence: str | Sequence[str] | None = None) -> dict[str, nn.Module]:
    """The modules whose equations are known, by qualified name: all, or those that the user has named."""
    kinds = (*RECURRENT_MODULES, *SINGLE_STEP_MODULES)
    modules: dict[str, nn.Module] = {
        name: module
        for name, module in named_modules(model)
        if isinstance(module, RECURRENT_MODULES) or (isinstance(module, kinds) and is_plain_cell(module))
    }
    if recurrence is None:
        return modules
    names = [recurrence] if isinstance(recurrence, str) else recurrence
    return {name: module for name, module in modules.items() if any(_means(one, name) for one in names)}


def _means(name: str, module: str) -> bool:
    """Whether a name is that of a module, or of one of its recurrences: "encoder", "encoder.l0.reverse#2"."""
    return (
        name == module
        or re.fullmatch(re.escape(f"{module}." if module else "") + r"l\d+(\.reverse)?(#\d+)?", name) is not None
    )


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
