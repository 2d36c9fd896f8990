"""The one call: examine a model on its data and its loss."""

import math
import numbers
import operator
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from throughtime.adjoint import Network
from throughtime.capture import (
    Captured,
    ExaminationError,
    Recurrence,
    capture,
    plan,
    preserved,
    same_attributes,
    same_randomness,
)
from throughtime.capture.agreement import check_outputs
from throughtime.capture.checks import call_model, check_finite, check_model, losses_of
from throughtime.capture.own_run import OwnRun, reconnected_run, survey
from throughtime.causes.findings import findings
from throughtime.examination import Examination, Record
from throughtime.measures import Film, LagBands
from throughtime.notation import INPUTS
from throughtime.record import Recorder
from throughtime.self_check import Summed, distance, not_finite, relative_errors

# Up to this many losses, "auto" follows every one of them; of more it follows SPREAD, evenly spread.
FOLLOW_ALL = 1024
SPREAD = 256
# Bytes that the adjoints of all sources followed at once may take where the caller does not say.
MEMORY = 2**30
# Lags that are summed one by one; of more, the far ones are summed in bands.
SINGLE_LAGS = 256

Progress = Callable[[int, int, str], None]


def examine(
    model: nn.Module,
    inputs: Any,
    targets: Any = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    *,
    loss_steps: str | int | Sequence[int] = "auto",
    max_lag: int | None = None,
    memory: int | None = None,
    seed: int = 0,
    recurrence: str | Sequence[str] | None = None,
    time_axis: int | None = None,
    tokens: Iterable[str] | None = None,
    on_progress: Progress | None = None,
) -> Examination:
    """How far back in time a model learns, and why no further.

    The model is run twice, once as it is and once with its recurrences opened; afterwards its parameters, gradients,
    buffers, training flags and the random state are as before.

    Args:
        model: Any module in float32 or float64 that contains nn.RNN, nn.GRU, nn.LSTM, their cells or throughtime's
            layers, or that calls a module or function step by step and gives it back what it returned.
        inputs: What the model is called with; a tuple or list is spread over its positional arguments, a dict over
            its named ones.
        targets: Handed to `loss`.
        loss: loss(output, targets), a 1-D tensor with one loss per step, each summed over the batch, or a scalar: one
            loss, counted at the last step.
        loss_steps: Which losses are followed backwards: "all", a number of evenly spread ones, their steps 1..n, or
            "auto": all of up to 1024, otherwise 256 evenly spread.
        max_lag: The largest lag that is followed; the weight terms are then no longer the whole gradient.
        memory: Bytes that the adjoints of the sources followed at once may take; 1 GiB by default.
        seed: Of the bootstrap behind the intervals.
        recurrence: Names of the modules, methods or functions to follow, where not all that are found are wanted or the
            wrong ones are. "inputs" follows the derivatives with respect to the model's input, which is done in any
            case where there is no recurrence: with them a transformer, a convolution and a GRU stand on one axis.
        time_axis: Which axis of the input is time, where the number of losses does not tell.
        tokens: One label per step of the first sample, to be shown with it.
        on_progress: Called with (steps done, all steps, name of the recurrence).

    Returns:
        The `Examination`.

    Raises:
        ExaminationError: The model, its data or its loss cannot be examined; the message says why and what to do. Also
            where the summed weight terms are not `.grad`.
        TypeError: An argument is of the wrong type.
    """
    check_model(model)
    if not callable(loss):
        raise TypeError(f"loss: expected a function loss(output, targets), found {type(loss).__name__}")
    for name, number, least in (("max_lag", max_lag, 0), ("memory", memory, 1)):
        if number is not None and (not isinstance(number, numbers.Integral) or number < least):
            raise ExaminationError(f"{name}: expected a whole number of at least {least}, found {number!r}")
    check_finite("inputs", inputs)
    if torch.is_inference_mode_enabled():
        raise ExaminationError("model: inference mode keeps no derivatives; leave torch.inference_mode() first")
    with preserved(model), torch.enable_grad(), _eager():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_()

        def call() -> Any:
            return call_model(model, inputs)

        def losses_from(output: Any) -> Tensor:
            return losses_of(loss, output, targets)

        with same_randomness(), same_attributes(model):
            own = survey(model, call, losses_from)
        followed = plan(model, inputs, own, recurrence, time_axis)
        with same_randomness(), same_attributes(model):
            captured = capture(model, inputs, followed)
            losses = losses_from(captured.output)
        if own.problem is not None:
            raise own.problem
        whole, detached = own, None
        if followed.reconnected:
            whole, detached = reconnected_run(model, lambda: losses_from(call()), followed.reconnected), own
        check_outputs(own, captured, losses)
        _check_steps(len(losses), captured.recurrences)
        labels = None if tokens is None else tuple(map(str, tokens))
        if labels is not None and len(labels) not in {recurrence.steps for recurrence in captured.recurrences}:
            raise ExaminationError(f"tokens: expected one per step of a recurrence, found {len(labels)}")
        sources = chosen(loss_steps, len(losses))
        return _Examining(
            captured, losses, whole, sources, max_lag, MEMORY if memory is None else memory, seed, detached
        ).run(labels, on_progress or (lambda done, total, name: None))


def _eager() -> AbstractContextManager[Any]:
    """Compiled modules and functions run as they were written: what is compiled cannot be opened."""
    # Nothing is compiled before the compiler is imported, and importing it takes a second.
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()


def chosen(loss_steps: str | int | Sequence[int], losses: int) -> Tensor:
    """The losses to follow, as indices.

    Raises:
        ExaminationError: `loss_steps` is no choice among `losses` steps.
    """
    if loss_steps == "auto":
        loss_steps = "all" if losses <= FOLLOW_ALL else SPREAD
    if loss_steps == "all":
        return torch.arange(losses)
    choices = f'"auto", "all", a number from 1 on or steps from 1 to {losses}'
    expected = f"loss_steps: expected {choices}, found {loss_steps!r}"
    if isinstance(loss_steps, numbers.Integral) and not isinstance(loss_steps, bool):
        if loss_steps < 1:
            raise ExaminationError(expected)
        # From the last one downwards, so that a single source is the last step.
        return torch.linspace(losses, 1, min(int(loss_steps), losses)).round().long().flip(0) - 1
    try:
        steps = sorted({operator.index(step) for step in loss_steps})  # type: ignore[union-attr, arg-type]
    except TypeError:
        raise ExaminationError(expected) from None
    if not steps or steps[0] < 1 or steps[-1] > losses:
        raise ExaminationError(expected)
    return torch.tensor(steps) - 1


def _check_steps(losses: int, recurrences: list[Recurrence]) -> None:
    if not recurrences:
        raise ExaminationError("model: none of its recurrences was called in its forward pass")
    steps = {recurrence.steps for recurrence in recurrences}
    if losses > 1 and losses not in steps and losses in {recurrence.batch for recurrence in recurrences}:
        raise ExaminationError(
            f"loss: found {losses} losses, as many as there are samples, for sequences of {_listed(steps)} steps; "
            "expected one loss per step, each summed over the batch, or a scalar"
        )


def _listed(steps: set[int]) -> str:
    return " and ".join(map(str, sorted(steps)))


class _Examining:
    """One examination under way."""

    def __init__(
        self,
        captured: Captured,
        losses: Tensor,
        own: OwnRun,
        sources: Tensor,
        max_lag: int | None,
        memory: int,
        seed: int,
        detached: OwnRun | None,
    ) -> None:
        self._detached = detached
        self._losses, self._own, self._sources = len(losses), own, sources
        self._max_lag, self._memory = max_lag, memory
        self._network = Network(captured.recurrences, losses)
        self._recurrences = captured.recurrences
        self._films = [self._film(index) for index in range(len(captured.recurrences))]
        self._recorders = [
            Recorder(recurrence, film, self._network.pullbacks.get(index), self._bands(recurrence, film), seed)
            for index, (recurrence, film) in enumerate(zip(captured.recurrences, self._films, strict=True))
        ]
        self._reached = [self._network.reached(index) for index in range(len(self._recurrences))]
        self._overflowed: list[str] = []

    def run(self, tokens: tuple[str, ...] | None, on_progress: Progress) -> Examination:
        if not any(self._reached):
            names = ", ".join(repr(recurrence.name) for recurrence in self._recurrences)
            raise ExaminationError(
                f"loss: it does not depend on any recurrence ({names}); was the hidden state detached, or never read?"
            )
        with torch.no_grad():
            self._play(on_progress)
            records = self._records()
        found = tuple(
            finding for name, record in records.items() for finding in findings(name, record.measures, record.causes)
        )
        return Examination(records, found, tokens, self._notes())

    def _play(self, on_progress: Progress) -> None:
        chunks = self._sources.split(max(1, self._memory // self._network.bytes_per_source()))
        total = len(chunks) * sum(
            r.steps + 1 for r, reached in zip(self._recurrences, self._reached, strict=True) if reached
        )
        done, start = 0, 0  # of all frames, and of all sources
        for chunk in chunks:
            rows = torch.arange(start, start + len(chunk))
            start += len(chunk)
            last_steps = [self._last_steps(film, rows) for film in self._films]
            for play in self._network.play(chunk, last_steps):
                name, shown = self._recurrences[play.index].name, 0
                for shown, frame in enumerate(play.frames, start=1):
                    for measure in self._recorders[play.index].audience:
                        measure.update(frame.of(rows))
                    on_progress(done + shown, total, name)
                # Where no source is active, no frame is shown; the last step counts in any case.
                done += play.states
                if shown < play.states:
                    on_progress(done, total, name)

    def _records(self) -> dict[str, Record]:
        indices = [index for index, reached in enumerate(self._reached) if reached]
        summed = [
            Summed(
                self._recurrences[i],
                self._recorders[i].weight_terms(),
                self._recorders[i].slope_rounding(),
                self._network.outside(i, self._sources),
            )
            for i in indices
        ]
        if any(film.cut for film in self._films):
            errors = [dict.fromkeys(one.terms, math.nan) for one in summed]
        else:
            errors = relative_errors(self._own, self._sources, summed)
            self._overflowed = not_finite(summed, errors)
        return {
            one.recurrence.name: self._recorders[index].record(one.terms, error, lost)
            for index, one, error, lost in zip(indices, summed, errors, self._lost(indices), strict=True)
        }

    def _lost(self, indices: Sequence[int]) -> list[float | None]:
        """For every recurrence that the model cuts, how far its own gradient is from the whole one."""
        recurrences = [self._recurrences[index] for index in indices]
        if self._detached is None:
            return [None] * len(recurrences)
        found = self._detached.gradients(self._sources, recurrences)
        whole = self._own.gradients(self._sources, recurrences)
        return [
            distance(cut, full) if recurrence.detached else None
            for recurrence, cut, full in zip(recurrences, found, whole, strict=True)
        ]

    def _film(self, index: int) -> Film:
        recurrence = self._recurrences[index]
        labels = self._sources + 1 if self._losses > 1 else torch.tensor([recurrence.steps])
        if self._losses == recurrence.steps:
            positions = recurrence.steps + 1 - labels if recurrence.reverse else labels
        else:
            positions = self._network.last_read(index, self._sources)
        return Film(
            recurrence.states,
            recurrence.steps,
            recurrence.batch,
            labels,
            positions,
            recurrence.reverse,
            self._max_lag,
            self._network.causal(index),
            recurrence.begins,
        )

    def _bands(self, recurrence: Recurrence, film: Film) -> LagBands:
        smallest, largest = film.lag_range
        # The largest lag of all is that of the initial state, which has no weight term.
        largest = min(largest, int(film.positions.max()) - 1)
        weights = sum(weight.numel() * 8 for weight in recurrence.parameters.values())
        return LagBands.covering(smallest, largest, max(1, min(SINGLE_LAGS, self._memory // max(weights, 1))))

    def _last_steps(self, film: Film, rows: Tensor) -> Tensor:
        """The smallest step to which every source is followed."""
        largest = film.steps if self._max_lag is None else self._max_lag
        return (film.positions[rows] - largest).clamp(min=film.begins)

    def _notes(self) -> tuple[str, ...]:
        unreached = [r.name for r, reached in zip(self._recurrences, self._reached, strict=True) if not reached]
        notes = []
        if any(recurrence.name == INPUTS for recurrence in self._recurrences):
            found = [recurrence.name for recurrence in self._recurrences if recurrence.name != INPUTS]
            if not found:
                notes.append(
                    "No recurrence was found in this model; if there is one, name with recurrence= the module or "
                    "function that is called step by step."
                )
            notes.append(
                "What is named inputs are the derivatives of the losses with respect to the model's input, step by "
                "step: what the output depends on, not what a state passes on."
            )
        notes += [f"The loss does not depend on recurrence {name!r}; it was not followed." for name in unreached]
        if any(recurrence.batch == 1 for recurrence in self._recurrences):
            notes.append("There is one sample, so the lag profile has no interval.")
        if all(recurrence.steps == 1 for recurrence in self._recurrences):
            notes.append("The sequence has one step: there is nothing to look back on but the initial state.")
        if self._overflowed:
            notes.append(
                f"Autograd's own gradient of {', '.join(self._overflowed)} is not finite, so the terms were not "
                "compared with it."
            )
        if any(film.cut for film in self._films):
            notes.append(
                f"Lags beyond {self._max_lag} were not followed: the reach is at least what is said, and unchecked."
            )
        lengths = {recurrence.steps for recurrence in self._recurrences} - {self._losses}
        if self._losses > 1 and lengths:
            notes.append(
                f"There are {self._losses} losses for sequences of {_listed(lengths)} steps: there, the lag of a loss "
                "is counted from the last step that it reads."
            )
        if self._losses == 1:
            notes.append(
                "The loss is a scalar: it counts as the loss of the last step, and lags are counted from there."
            )
        return tuple(notes)
