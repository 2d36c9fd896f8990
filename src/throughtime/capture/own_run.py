"""The user's own forward and backward pass, against which every examination is checked."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from throughtime.capture.capture import Captured
from throughtime.capture.errors import ExaminationError
from throughtime.capture.modules import RECURRENT_MODULES, SINGLE_STEP_MODULES
from throughtime.capture.recurrence import Recurrence
from throughtime.capture.sequences import Layout
from throughtime.capture.substitution import Substitution
from throughtime.capture.watch import Call, Watch

# How far a captured output may be from the user's own, relative to its largest value: rounding of another order of the
# same operations, over hundreds of steps.
OUTPUT_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


@dataclass(frozen=True)
class OwnRun:
    """One ordinary training step of the user's model, without the step.

    Args:
        module_outputs: By name of a recurrent module, the output of each of its calls, packed ones as their data.
        losses: One loss per step.
        problem: Why there are none.
        calls: All calls that it made.
        detached: What every detach in it returned.
    """

    module_outputs: dict[str, list[Tensor]]
    losses: Tensor
    problem: ExaminationError | None = None
    calls: Sequence[Call] = ()
    detached: Sequence[Tensor] = ()

    def gradients(self, sources: Tensor, recurrences: Sequence[Recurrence]) -> list[dict[str, Tensor]]:
        """For every recurrence, .grad of its weights after a backward pass from the sum of the sources' losses."""
        parameters = [parameter for recurrence in recurrences for parameter in recurrence.parameters.values()]
        with torch.enable_grad():
            found = torch.autograd.grad(self.losses[sources].sum(), parameters, allow_unused=True, retain_graph=True)
        filled = iter(
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(parameters, found, strict=True)
        )
        return [{name: next(filled) for name in recurrence.parameters} for recurrence in recurrences]


def survey(model: nn.Module, call: Callable[[], Any], losses: Callable[[Any], Tensor]) -> OwnRun:
    """Run the model as it is, and see all that it calls.

    What is wrong with the losses is kept as the run's problem: where it began can only be seen inside the recurrences.

    Args:
        model: The model.
        call: Calls it.
        losses: From its output.
    """
    watch, substitution = Watch(model), Substitution()
    with _outputs(model) as outputs, substitution, watch:
        output = call()
    found, problem = torch.zeros(0), None
    try:
        found = losses(output)
    except ExaminationError as error:
        problem = error
    return OwnRun(outputs, found, problem, watch.calls, substitution.detached)


def reconnected_run(model: nn.Module, losses: Callable[[], Tensor], reconnected: frozenset[int]) -> OwnRun:
    """Run the model as it is, but for some of its detaches, which leave the graph whole."""
    with _outputs(model) as outputs, Substitution(reconnected):
        return OwnRun(outputs, losses())


@contextmanager
def _outputs(model: nn.Module) -> Iterator[dict[str, list[Tensor]]]:
    """The outputs of all recurrent modules that run inside."""
    outputs: dict[str, list[Tensor]] = {}
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, (*RECURRENT_MODULES, *SINGLE_STEP_MODULES)):
            outputs[name] = []
            if isinstance(module, RECURRENT_MODULES):
                handles.append(module.register_forward_pre_hook(_not_empty))
            handles.append(module.register_forward_hook(_keeping(outputs[name])))
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def check_outputs(own: OwnRun, captured: Captured, losses: Tensor) -> None:
    """The captured run must have computed what the user's own run computes.

    Raises:
        ExaminationError: It has not; the recurrence is named.
    """
    for name, outputs in captured.module_outputs.items():
        for mine, theirs in zip(outputs, own.module_outputs[name], strict=True):
            difference = (mine - theirs).detach().abs().max()
            if not _close(mine, theirs.detach()):
                raise ExaminationError(
                    f"model: recurrence {name or 'model'!r} gave other outputs when opened, by "
                    f"{float(difference):.2g}; a forward pass must depend on nothing but its inputs, "
                    "the weights and torch's random state"
                )
    if not _close(losses.detach(), own.losses.detach()):
        raise ExaminationError(
            "model: the losses differ between two runs from the same random state; a forward pass and its loss must "
            f"depend on nothing but inputs, weights and torch's random state (found {losses.tolist()[:3]} ... against "
            f"{own.losses.tolist()[:3]} ...)"
        )


def _close(mine: Tensor, theirs: Tensor) -> bool:
    if mine.shape != theirs.shape:
        return False
    tolerance = OUTPUT_TOLERANCE[mine.dtype]
    return bool(((mine - theirs).abs() <= tolerance * theirs.abs().max().clamp(min=1e-30)).all())


def _not_empty(module: Any, arguments: Any) -> None:
    if arguments:
        Layout.read(arguments[0], module.batch_first)


def _keeping(outputs: list[Tensor]) -> Callable[..., None]:
    def hook(module: Any, arguments: Any, output: Any) -> None:
        # A layer returns its sequence and its state; a cell its state, or its states.
        sequence: Tensor | PackedSequence = output if isinstance(output, Tensor) else output[0]
        outputs.append(sequence if isinstance(sequence, Tensor) else sequence.data)

    return hook
