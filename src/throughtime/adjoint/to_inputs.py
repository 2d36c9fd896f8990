"""The adjoint of what a recurrence read, collected for the recurrences below it."""

import torch

from throughtime.adjoint.segments import InputAdjoint
from throughtime.adjoint.sweep import Frame
from throughtime.capture import Recurrence


class ToInputs:
    """dl_t/dx_i for every source and step, and dl_t/ds_0, with a scale for every row.

    Args:
        recurrence: Whose input it is.
        sources: How many sources are swept.
    """

    def __init__(self, recurrence: Recurrence, sources: int) -> None:
        shape = (sources, *recurrence.inputs.shape)
        self._recurrence = recurrence
        self._values = recurrence.inputs.detach().new_zeros(shape)
        self._log_scale = torch.full(shape[:-1], -torch.inf, dtype=torch.float64)
        self._initial: Frame | None = None
        self._sources = sources

    def update(self, frame: Frame) -> None:
        """Take in one step; the last frame holds the initial state."""
        if frame.step == 0:
            self._initial = frame
            return
        step = frame.step - 1
        self._values[frame.sources, step] = frame.input_pre.values["pre"] @ self._recurrence.weights.weight_ih
        self._log_scale[frame.sources, step] = frame.input_pre.log_scale

    def result(self) -> list[InputAdjoint]:
        """The adjoints of the tensors of the user's graph that the recurrence started from."""
        order = self._recurrence.reading_order
        adjoints = [InputAdjoint(self._recurrence.inputs, order(self._values, 1), order(self._log_scale, 1))]
        for state, start in self._recurrence.initial.items():
            values = self._values.new_zeros(self._sources, *start.shape)
            log_scale = torch.full(values.shape[:-1], -torch.inf, dtype=torch.float64)
            if self._initial is not None:
                values[self._initial.sources] = self._initial.adjoint.values[state]
                log_scale[self._initial.sources] = self._initial.adjoint.log_scale
            adjoints.append(InputAdjoint(start, values, log_scale))
        return [adjoint for adjoint in adjoints if adjoint.end.requires_grad]
