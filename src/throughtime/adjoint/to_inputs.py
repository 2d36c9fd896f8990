"""The adjoint of what a recurrence read, collected for the recurrences below it."""

import torch

from throughtime.adjoint.segments import InputAdjoint
from throughtime.adjoint.sweep import SweptFrame
from throughtime.capture import Run


class ToInputs:
    """dl_t/dx_i for every source and step, and dl_t/ds_0, with a scale for every row.

    Args:
        run: Whose input it is.
        sources: How many sources are swept.
        input_needed: Whether anything below depends on the input; the states it started from are always collected.
    """

    def __init__(self, run: Run, sources: int, input_needed: bool) -> None:
        self._run, self._input_needed = run, input_needed
        shape = (sources, *run.inputs.shape)
        like = run.inputs.detach()
        self._values = like.new_zeros(shape if input_needed else (0,))
        self._log_scale = like.new_full(shape[:-1] if input_needed else (0,), -torch.inf, dtype=torch.float64)
        nothing = like.new_full((sources, run.batch), -torch.inf, dtype=torch.float64)
        self._starts = {
            state: (like.new_zeros(sources, *start.shape), nothing.clone()) for state, start in run.initial.items()
        }

    @staticmethod
    def bytes_per_source(run: Run, input_needed: bool) -> int:
        """What is collected of one source."""
        size = run.hidden.element_size()
        starts = sum(size * start.numel() + 8 * run.batch for start in run.initial.values())
        return starts + input_needed * (size * run.inputs.numel() + 8 * run.steps * run.batch)

    def update(self, frame: SweptFrame) -> None:
        """Take in one frame: the adjoint of its input, and of the state from which samples start there."""
        reading, steps = self._run.reading, self._run.steps
        waiting = reading.waiting(steps)
        starting = torch.arange(self._run.batch) if waiting is None else (waiting == frame.step).nonzero()[:, 0]
        if waiting is not None or frame.step == 0:
            for state, (values, log_scale) in self._starts.items():
                place = frame.sources.unsqueeze(1), starting
                values[place] = frame.adjoint.values[state][:, starting]
                log_scale[place] = frame.adjoint.log_scale[:, starting]
        if frame.step > 0 and self._input_needed:
            step = frame.step - 1
            self._values[frame.sources, step] = frame.input_pre.values["pre"] @ self._run.weights.weight_ih
            self._log_scale[frame.sources, step] = frame.input_pre.log_scale

    def inputs(self) -> InputAdjoint:
        """The adjoint of the input."""
        order = self._run.reading.order
        return InputAdjoint(self._run.inputs, order(self._values, 1), order(self._log_scale, 1))

    def starts(self) -> dict[str, InputAdjoint]:
        """By state, the adjoint of what the run started from."""
        return {state: InputAdjoint(self._run.initial[state], *start) for state, start in self._starts.items()}
