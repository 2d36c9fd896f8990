"""The user's own forward and backward pass, against which every examination is checked."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from throughtime.capture.errors import ExaminationError
from throughtime.capture.modules import RECURRENT_MODULES, SINGLE_STEP_MODULES
from throughtime.capture.recurrence import Recurrence
from throughtime.capture.sequences import Layout
from throughtime.capture.substitution import Substitution
from throughtime.capture.watch import Call, Watch


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
            found = parameters and torch.autograd.grad(
                self.losses[sources].sum(), parameters, allow_unused=True, retain_graph=True
            )
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


def _not_empty(module: Any, arguments: Any) -> None:
    if arguments:
        Layout.read(arguments[0], module.batch_first)


def _keeping(outputs: list[Tensor]) -> Callable[..., None]:
    def hook(module: Any, arguments: Any, output: Any) -> None:
        # A layer returns its sequence and its state; a cell its state, or its states.
        sequence: Tensor | PackedSequence = output if isinstance(output, Tensor) else output[0]
        outputs.append(sequence if isinstance(sequence, Tensor) else sequence.data)

    return hook
