"""The runs of a user's model from which an examination is made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from throughtime.capture.agreement import check_outputs
from throughtime.capture.capture import capture
from throughtime.capture.checks import call_examined
from throughtime.capture.errors import ExaminationError
from throughtime.capture.own_run import OwnRun, reconnected_run, survey
from throughtime.capture.plan import openable, plan
from throughtime.capture.preserved import Buffers, same_attributes, same_randomness
from throughtime.capture.recurrence import Opened, Recurrence


@dataclass(frozen=True)
class Runs:
    """All from the same random state, so that they compute the same.

    Args:
        recurrences: What ran, opened, in the order in which they began.
        losses: One loss per step, on the graph that is cut at them.
        sources: The losses that are followed, as indices.
        own: The model as it is, but for detaches between steps, which leave the graph whole, after its backward pass.
        detached: The model as it is, where that makes a difference.
        left_out: What was found, or might have been, and is not followed.
        guessed: Whether what is followed was found, not named.
        shown: Which recurrences are to be shown: one that was not asked for may lie on the way to one that was.
        apart: Whether the losses are parts of a single one; the runs of the model are with that.
    """

    recurrences: list[Recurrence]
    losses: Tensor
    sources: Tensor
    own: OwnRun
    detached: OwnRun | None
    left_out: tuple[str, ...]
    guessed: bool
    shown: tuple[bool, ...]
    apart: bool = False


def runs_of(
    model: nn.Module,
    inputs: Any,
    losses_from: Callable[[Any], Tensor],
    recurrence: str | Sequence[str] | None,
    time_axis: int | None,
    chosen: Callable[[int], Tensor],
    on_phase: Callable[[str], None],
    memory: int | None = None,
) -> Runs:
    """Run a model as it is, decide what to follow, and run it again with that opened.

    Args:
        model: The model.
        inputs: What it is called with.
        losses_from: The losses of an output.
        recurrence: See `plan`.
        time_axis: See `plan`.
        chosen: From the number of losses, those to follow, as indices.
        on_phase: Called with what is about to be done.
        memory: Bytes that what can be made again may take: autograd's graphs of all recurrent layers together, and the
            pre-activations of every recurrence.

    Raises:
        ExaminationError: The model, its data or its loss cannot be followed.
    """

    def call() -> Any:
        return call_examined(model, inputs)

    on_phase("the model's forward pass")
    buffers, opened = Buffers(model), openable(model, recurrence)
    with same_randomness(), same_attributes(model):
        seen = survey(model, call, losses_from, opened, memory)
    followed = plan(model, inputs, seen, recurrence, time_axis)
    on_phase("the model's backward pass")
    sources = chosen(len(seen.losses)) if seen.problem is None else torch.zeros(0, dtype=torch.long)
    seen = seen.after_backward(model, sources)
    on_phase("its recurrences opened")
    with same_randomness(), same_attributes(model), buffers.again(), _gradients_of_its_own():
        captured = capture(model, inputs, followed, memory)
        losses = losses_from(captured.output)
    if seen.problem is not None:
        raise seen.problem
    check_outputs(seen, captured, losses)
    recurrences = captured.recurrences
    named = [recurrence] if isinstance(recurrence, str) else recurrence
    _check_names(named or (), recurrences)
    shown = tuple(named is None or _asked_for(one, named) for one in recurrences)
    asked_for = (*followed.opened, *(one.name for one in followed.loops))
    idle = tuple(name for name in asked_for if not any(_belongs(one.name, name) for one in recurrences))
    beside = tuple(one.name for one, asked in zip(recurrences, shown, strict=True) if not asked)
    # Outputs are needed no longer, and as large as the states.
    seen = replace(seen, module_outputs={})
    own, detached = seen, None
    if followed.reconnected:
        with buffers.again():
            whole = reconnected_run(model, lambda: losses_from(call()), followed.reconnected, opened, memory)
        own, detached = whole.after_backward(model, sources), seen
    left_out = followed.left_out + idle + beside
    return Runs(recurrences, losses, sources, own, detached, left_out, recurrence is None, shown)


@contextmanager
def _gradients_of_its_own() -> Iterator[None]:
    """Inside, the graph is cut where recurrences are opened: a gradient through one, taken by the model, is told of."""
    try:
        yield
    except RuntimeError as error:
        if "to not have been used in the graph" not in str(error):
            raise
        raise ExaminationError(
            "model: it takes a gradient itself, in its forward pass or in the loss, that leads through a recurrence "
            "that is examined; leave that part out for the examination, or name with recurrence= what it does not "
            "lead through"
        ) from error


def _asked_for(found: Recurrence, names: Sequence[str]) -> bool:
    """Whether a recurrence was named, or its module; a loop is only followed where it was."""
    return not isinstance(found, Opened) or any(_belongs(found.name, name) for name in names)


def _check_names(names: Sequence[str], recurrences: Sequence[Recurrence]) -> None:
    """A module may have been named by a recurrence that it does not have."""
    for name in names:
        alike = [one.name for one in recurrences if _belongs(one.name, _module(name))]
        if alike and not any(_belongs(one, name) for one in alike):
            raise ExaminationError(f"recurrence: there is no {name!r}; found {', '.join(map(repr, alike))}")


def _belongs(recurrence: str, name: str) -> bool:
    """Whether a name is that of a recurrence, at any of its calls or at this one, or of its module."""
    return name in (recurrence, recurrence.partition("#")[0], _module(recurrence))


def _module(recurrence: str) -> str:
    """Without layer, direction and call: "encoder" of "encoder.l0.reverse#2"."""
    return re.sub(r"((^|\.)l\d+(\.reverse)?)?(#\d+)?$", "", recurrence)
