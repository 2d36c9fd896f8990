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
        self._starts = {
            state: (self._values.new_zeros(sources, *start.shape), self._log_scale[:, 0].clone())
            for state, start in recurrence.initial.items()
        }

    def update(self, frame: Frame) -> None:
        """Take in one frame: the adjoint of its input, and of the state from which samples start there."""
        reading, steps = self._recurrence.reading, self._recurrence.steps
        waiting = reading.waiting(steps)
        starting = torch.arange(self._recurrence.batch) if waiting is None else (waiting == frame.step).nonzero()[:, 0]
        if waiting is not None or frame.step == 0:
            for state, (values, log_scale) in self._starts.items():
                place = frame.sources.unsqueeze(1), starting
                values[place] = frame.adjoint.values[state][:, starting]
                log_scale[place] = frame.adjoint.log_scale[:, starting]
        if frame.step > 0:
            step = frame.step - 1
            self._values[frame.sources, step] = frame.input_pre.values["pre"] @ self._recurrence.weights.weight_ih
            self._log_scale[frame.sources, step] = frame.input_pre.log_scale

    def result(self) -> list[InputAdjoint]:
        """The adjoints of the tensors of the user's graph that the recurrence started from."""
        order = self._recurrence.reading.order
        adjoints = [InputAdjoint(self._recurrence.inputs, order(self._values, 1), order(self._log_scale, 1))]
        adjoints += [InputAdjoint(self._recurrence.initial[state], *start) for state, start in self._starts.items()]
        return [adjoint for adjoint in adjoints if adjoint.end.requires_grad]
