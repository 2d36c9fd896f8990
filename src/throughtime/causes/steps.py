"""The change of ln-norm at every step of a loop whose equations are not known: what passes the step, and what enters.

As for cells whose equations are known, followed is the last state, with the norm of the gradient map. The step is
everything that leads from s_i to s_{i-1}; what is in the adjoint of s_{i-1} besides has entered there.
"""

import torch
from torch import Tensor

from throughtime.adjoint import LoopFrame
from throughtime.causes.decomposition import Crossing, Decomposition
from throughtime.measures import Film
from throughtime.measures.film import log_mean_exp
from throughtime.notation import ENTERING, WHOLE_STEP


class StepCauses(Crossing[LoopFrame]):
    """The causes of a loop."""

    def __init__(self, film: Film) -> None:
        super().__init__(film, (WHOLE_STEP, ENTERING))

    def _take(self, frame: LoopFrame, here: Tensor, rows: Tensor) -> None:
        self._there[rows, self._film.column[frame.step]] = log_mean_exp(
            frame.ln_square[self._film.states[-1]][here]
        ).cpu()
        if frame.step == 0:
            return
        through = frame.through_step(here)
        arrived = log_mean_exp(through.ln_square(self._film.states[-1])).cpu()
        column = self._film.column[frame.step] - 1
        self._nats[0, rows, column] = (arrived - self._there[rows, column + 1]) / 2
        self._arrived[rows, column] = arrived

    def result(self) -> Decomposition:
        """All causes that were found."""
        self._enter()
        nothing = torch.zeros(0, *self._nats.shape[1:], dtype=torch.float64)
        return Decomposition(
            self._followed,
            self.names,
            self._film.in_sequence(self._nats),
            (),
            nothing,
            nothing.unsqueeze(1).expand(0, 2, *nothing.shape[1:]),
        )
