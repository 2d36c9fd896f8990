"""The change of ln-norm at every step of a loop whose equations are not known: what passes the step, and what enters.

As for cells whose equations are known, followed is the last state, with the norm of the gradient map. The step is
everything that leads from s_i to s_{i-1}; what is in the adjoint of s_{i-1} besides has entered there.
"""

import torch
from torch import Tensor

from throughtime.adjoint import LoopFrame
from throughtime.causes.decomposition import Decomposition, followed_sources
from throughtime.measures import Film, Measure
from throughtime.measures.film import log_mean_exp
from throughtime.notation import ENTERING, STEP


class StepCauses(Measure[LoopFrame]):
    """Splits the change of ln-norm at every step, for as many sources as `Causes` follows."""

    def __init__(self, film: Film) -> None:
        self._film = film
        self._followed, self._row = followed_sources(film)
        self._nats = torch.full((2, len(self._followed), film.steps), torch.nan, dtype=torch.float64)
        self._arrived: tuple[int, Tensor, Tensor] | None = None

    def update(self, frame: LoopFrame) -> None:
        """Complete the step that led to this frame, and take the next one."""
        rows = self._row[frame.sources]
        here = rows >= 0
        if not here.any():
            return
        rows, state = rows[here], self._film.states[-1]
        before = log_mean_exp(frame.ln_square[state][here])
        if self._arrived is not None and self._arrived[0] == frame.step + 1:
            _, arrived_rows, arrived = self._arrived
            now = torch.full((len(self._followed),), torch.nan, dtype=torch.float64).index_copy_(0, rows, before)
            self._nats[1, arrived_rows, frame.step] = (now[arrived_rows] - arrived) / 2
        self._arrived = None
        if frame.step > 0:
            through = frame.through_step(here.nonzero().squeeze(-1))
            ln_square = log_mean_exp(through.ln_square(state))
            self._nats[0, rows, frame.step - 1] = (ln_square - before) / 2
            self._arrived = frame.step, rows, ln_square

    def result(self) -> Decomposition:
        """All causes that were found."""
        nothing = torch.zeros(0, *self._nats.shape[1:], dtype=torch.float64)
        return Decomposition(
            self._followed,
            (STEP, ENTERING),
            self._film.in_sequence(self._nats),
            (),
            nothing,
            nothing.unsqueeze(1).expand(0, 2, *nothing.shape[1:]),
        )
