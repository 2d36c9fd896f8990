"""The gradient map: ln of the norm of every adjoint."""

import torch
from torch import Tensor

from throughtime.measures.film import Film, log_mean_exp
from throughtime.measures.reel import NormMeasure, Reel


class GradientMap(NormMeasure):
    """ln sqrt(mean over the batch of |dl_t/ds_i|^2), in nats, for every source t and state i; and the first sample's.

    -inf where the derivative is exactly zero, NaN where it was not followed.
    """

    def __init__(self, film: Film) -> None:
        self._film = film
        shape = (len(film.states), film.sources, len(film.kept))
        # States that a source does not reach carry exactly nothing of its loss.
        self._map = torch.full(shape, -torch.inf, dtype=torch.float64)
        self._sample = self._map.clone()

    def take(self, reel: Reel) -> None:
        """Every row is one place of the map."""
        columns = self._film.column[reel.steps]
        for index, ln_square in enumerate(reel.ln_square.values()):
            self._map[index, reel.sources, columns] = log_mean_exp(ln_square) / 2
            self._sample[index, reel.sources, columns] = ln_square[:, 0] / 2

    def result(self) -> Tensor:
        """(state, source, state_step), nats."""
        return self._labelled(self._map)

    def sample(self) -> Tensor:
        """The first sample alone, (state, source, state_step), nats."""
        return self._labelled(self._sample)

    def _labelled(self, values: Tensor) -> Tensor:
        # In place: what is marked once stays marked.
        if self._film.cut:
            values.masked_fill_(self._film.kept < self._film.followed_to.unsqueeze(-1), torch.nan)
        values[..., self._film.kept < self._film.begins] = torch.nan
        return self._film.in_sequence(values)
