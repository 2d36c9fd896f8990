"""The one call: examine a model on its data and its loss."""

import numbers
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from throughtime.adjoint import taken_apart
from throughtime.budget import for_what_can_be_made_again
from throughtime.capture import ExaminationError, Recurrence, preserved
from throughtime.capture.checks import check_finite, check_model, check_strings, check_whole, losses_of
from throughtime.capture.plainly import plainly
from throughtime.capture.runs import Runs, runs_of
from throughtime.examination import Examination
from throughtime.giving_back import giving_back
from throughtime.measuring import Measuring
from throughtime.notes import one_per_sample
from throughtime.progress import Progress, untold

# Up to this many losses, "auto" follows every one of them; of more it follows SPREAD, evenly spread.
FOLLOW_ALL = 1024
SPREAD = 256
# While a model runs, functions of torch are replaced for the whole process: of several threads, one examines at a time.
_IN_TURN = threading.RLock()


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
    window: int | None = None,
    trained_in: torch.dtype | None = None,
    on_progress: Progress | None = None,
) -> Examination:
    """How far back in time a model learns, and why no further.

    The model is run twice, once as it is and once with its recurrences opened, and once more where it detaches a state
    between steps; afterwards its parameters, gradients, buffers, training flags and the random state are as before.

    Args:
        model: Any module in float32 or float64 that contains nn.RNN, nn.GRU, nn.LSTM, their cells or throughtime's
            layers, or that calls a module or function step by step and gives it back what it returned.
        inputs: What the model is called with; a tuple or list is spread over its positional arguments, a dict over
            its named ones.
        targets: Handed to `loss`.
        loss: loss(output, targets), a 1-D tensor with one loss per step, each summed over the batch, or a scalar. One
            that reads several steps is taken apart into what it sends back through the states of each, unless what it
            reads has different lengths, is a loop beside others, is what a step of a loop puts out beside its states,
            or has, with "auto", more than 1024 steps. Whole, it counts at the last step that it reads.
        loss_steps: Which losses are followed backwards: "all", a number of evenly spread ones, their steps 1..n, or
            "auto": all of up to 1024, otherwise 256 evenly spread. [1] leaves a scalar whole.
        max_lag: The largest lag that is followed; the weight terms are then no longer the whole gradient.
        memory: Bytes that the examination may take in all, beyond what the process has before the call: its peak stays
            within 20 % of it. The sources are followed some after the others, and derivatives made in stretches, where
            that is needed. Not counted are a training step of the model itself, which comes before everything else, and
            code that is loaded and compiled at first use. Recurrent layers of which autograd's graph would take more
            than an eighth of it are run segment by segment, and again for the way back. Blocks that are freed are given
            back to the system at once, if its C library can be asked. Of a model on a GPU, its bytes.
            By default, what is left there and of the machine's, of which no more than 1 GiB is spent on what can be
            made smaller.
        seed: Of the bootstrap behind the intervals.
        recurrence: Names of the modules, methods or functions to follow, or of single layers as "encoder.l1", where
            not all that are found are wanted or the wrong ones are. "inputs" follows the derivatives with respect to
            the model's input, which is done in any case where there is no recurrence: with them a transformer, a
            convolution and a GRU stand on one axis.
        time_axis: Which axis of the input is time, where the number of losses does not tell.
        tokens: One label per step of the first sample, to be shown with it.
        window: The number of steps after each of which the training cuts the graph (truncated BPTT), where it does: the
            findings say what that costs, attribute `window_error`. What is measured is the whole gradient in any case.
        trained_in: The dtype of the training where it is not the model's: torch.float16 or torch.bfloat16, under
            autocast or not. The findings say what is rounded away there; the examination itself is in the model's.
        on_progress: Called with (steps done, all steps, name of the recurrence); before these steps, while the model is
            run, with (0, 1, what is about to be done).

    Returns:
        The `Examination`.

    Raises:
        ExaminationError: The model, its data or its loss cannot be examined; the message says why and what to do. Also
            where the summed weight terms are not `.grad`, and where `memory` is too little, before any source is
            followed: the message says how much would do.
        TypeError: An argument is of the wrong type.
    """
    device = check_model(model)
    if not callable(loss):
        raise TypeError(f"loss: expected a function loss(output, targets), found {type(loss).__name__}")
    least = {"max_lag": 0, "memory": 1, "window": 1}
    given = {"max_lag": max_lag, "memory": memory, "window": window, "time_axis": time_axis, "seed": seed}
    for name, number in given.items():
        if number is not None:
            check_whole(name, number, least.get(name))
    if recurrence is not None:
        check_strings("recurrence", recurrence)
    if tokens is not None and not isinstance(tokens, Iterable):
        raise TypeError(f"tokens: expected one label per step, found {tokens!r}")
    if trained_in is not None and not (isinstance(trained_in, torch.dtype) and trained_in.is_floating_point):
        raise TypeError(f"trained_in: expected a floating dtype such as torch.bfloat16, found {trained_in!r}")
    check_finite("inputs", inputs)
    if torch.is_inference_mode_enabled():
        raise ExaminationError("model: inference mode keeps no derivatives; leave torch.inference_mode() first")
    with _IN_TURN, giving_back(memory is not None), preserved(model), torch.enable_grad(), plainly() as notes:
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.requires_grad_()

        def losses_from(output: Any) -> Tensor:
            return losses_of(loss, output, targets)

        progress = on_progress or untold
        followed, phase = partial(chosen, loss_steps), partial(progress, 0, 1)
        again = for_what_can_be_made_again(memory, device)
        runs = runs_of(model, inputs, losses_from, recurrence, time_axis, followed, phase, again)
        recurrences = runs.recurrences
        _check_steps(len(runs.losses), recurrences)
        labels = None if tokens is None else tuple(map(str, tokens))
        if labels is not None and len(labels) not in {one.steps for one in recurrences}:
            raise ExaminationError(f"tokens: expected one per step of a recurrence, found {len(labels)}")
        with _on_cpu():
            measuring = Measuring(_by_step(runs, loss_steps), max_lag, memory, seed)
            examination = measuring.run(labels, progress, _training(window, trained_in))
        examination.notes += tuple(notes)
        return examination


def _by_step(runs: Runs, loss_steps: str | int | Sequence[int]) -> Runs:
    """A single loss that reads many steps as one loss per step, all of which are followed."""
    if len(runs.losses) > 1 or not isinstance(loss_steps, str):
        return runs
    if loss_steps == "auto" and any(recurrence.steps > FOLLOW_ALL for recurrence in runs.recurrences):
        return runs
    losses = taken_apart(runs.recurrences, runs.losses)
    return runs if losses is None else replace(runs, losses=losses, sources=torch.arange(len(losses)), apart=True)


@contextmanager
def _on_cpu() -> Iterator[None]:
    """Inside, what is made without a word on where is made on the CPU, where what is found is kept."""
    elsewhere = torch.get_default_device().type != "cpu"
    with torch.device("cpu") if elsewhere else nullcontext():
        yield


@_on_cpu()
def chosen(loss_steps: str | int | Sequence[int], losses: int) -> Tensor:
    """The losses to follow, as indices.

    Raises:
        ExaminationError: `loss_steps` is no choice among `losses` steps.
    """
    if isinstance(loss_steps, str) and loss_steps == "auto":
        loss_steps = "all" if losses <= FOLLOW_ALL else SPREAD
    if isinstance(loss_steps, str) and loss_steps == "all":
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


def _training(window: int | None, trained_in: torch.dtype | None) -> dict[str, object]:
    """What is known of the training, as it is kept."""
    dtype = None if trained_in is None else str(trained_in).removeprefix("torch.")
    return {name: value for name, value in (("window", window), ("trained_in", dtype)) if value is not None}


def _check_steps(losses: int, recurrences: list[Recurrence]) -> None:
    if not recurrences:
        raise ExaminationError(
            "model: none of its recurrences was called in its forward pass; where it works with their weights itself, "
            "put one step into a module, method or function of its own, so that it can be followed"
        )
    steps = {recurrence.steps for recurrence in recurrences}
    if losses > 1 and losses not in steps and losses in {recurrence.batch for recurrence in recurrences}:
        raise ExaminationError(
            f"{one_per_sample(losses, recurrences)}; where these are no steps of time, name another recurrence, or "
            "recurrence='inputs'"
        )
