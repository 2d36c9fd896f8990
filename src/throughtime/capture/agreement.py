"""The check that an opened model computes what the user's own does."""

import torch
from torch import Tensor

from throughtime.capture.capture import Captured
from throughtime.capture.errors import ExaminationError
from throughtime.capture.own_run import OwnRun

# How far a captured output may be from the user's own, relative to its largest value: rounding of another order of the
# same operations, over hundreds of steps.
OUTPUT_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}
# Numbers that are compared together.
NUMBERS_AT_ONCE = 2**22


def check_outputs(own: OwnRun, captured: Captured, losses: Tensor) -> None:
    """The captured run must have computed what the user's own run computes.

    Raises:
        ExaminationError: It has not; the recurrence is named.
    """
    for name, outputs in captured.module_outputs.items():
        for mine, theirs in zip(outputs, own.module_outputs[name], strict=True):
            if not _close(mine, theirs.detach()):
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
    if not mine.numel():
        return True
    largest = max(float(theirs.amax()), -float(theirs.amin()), 1e-30)
    # Of a long sequence, a difference of all of it would take as much memory as the states do.
    rows = max(1, NUMBERS_AT_ONCE * len(mine) // mine.numel())
    parts = zip(mine.split(rows), theirs.split(rows), strict=True)
    return all(bool(((one - other).abs() <= OUTPUT_TOLERANCE[mine.dtype] * largest).all()) for one, other in parts)
