"""The user's own forward and backward pass, against which every examination is checked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from throughtime.capture.capture import Captured, recurrent_modules
from throughtime.capture.errors import ExaminationError
from throughtime.capture.recurrence import Recurrence

# How far a captured output may be from the user's own, relative to its largest value: rounding of another order of the
# same operations, over hundreds of steps.
OUTPUT_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


@dataclass(frozen=True)
class OwnRun:
    """One ordinary training step of the user's model, without the step.

    Args:
        losses: One loss per step.
        module_outputs: By name of a recurrent module, the output of each of its calls, packed ones as their data.
    """

    losses: Tensor
    module_outputs: dict[str, list[Tensor]]

    def gradients(self, sources: Tensor, recurrences: Sequence[Recurrence]) -> list[dict[str, Tensor]]:
        """For every recurrence, .grad of its weights after a backward pass from the sum of the sources' losses."""
        parameters = [parameter for recurrence in recurrences for parameter in recurrence.parameters.values()]
        with torch.enable_grad():
            found = torch.autograd.grad(self.losses[sources].sum(), parameters, allow_unused=True)
        filled = iter(
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(parameters, found, strict=True)
        )
        return [{name: next(filled) for name in recurrence.parameters} for recurrence in recurrences]


def own_run(model: nn.Module, losses: Callable[[], Tensor]) -> OwnRun:
    """Run the model as it is.

    Args:
        model: The model; its recurrent weights may be set to require a gradient.
        losses: Calls it and its loss.
    """
    outputs: dict[str, list[Tensor]] = {}
    handles = []
    for name, module in recurrent_modules(model).items():
        outputs[name] = []
        for parameter in module.parameters():
            parameter.requires_grad_()
        handles.append(module.register_forward_hook(_keeping(outputs[name])))
    try:
        return OwnRun(losses(), outputs)
    finally:
        for handle in handles:
            handle.remove()


def check_outputs(own: OwnRun, captured: Captured, losses: Tensor) -> None:
    """The captured run must have computed what the user's own run computes.

    Raises:
        ExaminationError: It has not; the recurrence is named.
    """
    for name, outputs in own.module_outputs.items():
        for mine, theirs in zip(captured.module_outputs[name], outputs, strict=True):
            if not _close(mine, theirs):
                raise ExaminationError(
                    f"model: recurrence {name or 'model'!r} gave other outputs when opened, by "
                    f"{float((mine - theirs).abs().max()):.2g}; a forward pass must depend on nothing but its inputs, "
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


def _keeping(outputs: list[Tensor]) -> Callable[..., None]:
    def hook(module: Any, arguments: Any, output: Any) -> None:
        sequence: Tensor | PackedSequence = output[0]
        outputs.append(sequence.data.detach())

    return hook
