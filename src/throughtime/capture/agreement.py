"""The check that an opened model computes what the user's own does."""

import torch
from torch import Tensor

from throughtime.capture.capture import Captured
from throughtime.capture.errors import ExaminationError
from throughtime.capture.own_run import OwnRun

# How far a captured output may be from the user's own, relative to its largest value: rounding of another order of the
# same operations, over hundreds of steps.
OUTPUT_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


def check_outputs(own: OwnRun, captured: Captured, losses: Tensor) -> None:
    """The captured run must have computed what the user's own run computes.

    Raises:
        ExaminationError: It has not; the recurrence is named.
    """
    for name, outputs in captured.module_outputs.items():
        # None are kept of a subclass that changes them.
        for mine, theirs in zip(outputs, own.module_outputs[name], strict=False):
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
