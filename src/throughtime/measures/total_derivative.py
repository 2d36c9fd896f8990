"""The total derivative: what all losses together send to a state, most of it through the recurrence."""

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint import Frame, Scaled, joined, or_zero
from throughtime.measures.film import Film, Measure, log_mean_exp

# Evenly spread states at which it is taken: enough for a curve, at a small part of what the sweep itself costs.
LARGEST_STATES = 16


class TotalDerivative(Measure[Frame]):
    """ln sqrt(mean over the batch of |dL/ds_t|^2), L the sum of all losses that are followed, in nats.

    dL/ds_t = sum over t' of dl_t'/ds_t, taken at the state from which the lag of source t is counted. Beside the direct
    derivative, which is what a hook on the layer's output shows of it, it tells how much of what reaches a state comes
    back through time: the two are equal where nothing does.
    """

    def __init__(self, film: Film) -> None:
        steps, self._place = torch.unique(film.positions, return_inverse=True)
        chosen = torch.linspace(0, len(steps) - 1, min(LARGEST_STATES, len(steps))).round().long()
        self._index = dict(zip(steps[chosen].tolist(), chosen.tolist(), strict=True))
        self._states, self._steps = film.states, len(steps)
        self._sums: dict[int, Scaled] = {}

    def update(self, frame: Frame) -> None:
        """Add up the sources that have reached a state."""
        if frame.step not in self._index:
            return
        log_scale = frame.adjoint.log_scale
        largest = log_scale.amax(dim=0)
        weight = (log_scale - or_zero(largest)).exp().T.unsqueeze(1)
        # (batch, 1, active) times (batch, active, hidden)
        summed = {
            state: torch.matmul(weight.to(values.dtype), values.transpose(0, 1)).transpose(0, 1).double()
            for state, values in frame.adjoint.values.items()
        }
        found = Scaled(summed, largest.unsqueeze(0))
        before = self._sums.get(frame.step)
        self._sums[frame.step] = found if before is None else before.plus(found)

    def result(self) -> Float[Tensor, "state source"]:
        """By state and source, in nats; -inf where nothing arrives, NaN at a state that is not among the chosen."""
        values = torch.full((len(self._states), self._steps), torch.nan, dtype=torch.float64)
        values[:, list(self._index.values())] = -torch.inf
        if self._sums:
            found = joined(list(self._sums.values()))
            places = [self._index[step] for step in self._sums]
            for state, name in enumerate(self._states):
                values[state, places] = (log_mean_exp(found.ln_square(name)) / 2).cpu()
        return values[:, self._place]
