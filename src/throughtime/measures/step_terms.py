"""Weight terms of a loop whose equations are not known: the gradients of the copies that its steps worked with."""

from collections.abc import Mapping

import torch
from torch import Tensor

from throughtime.adjoint import LoopFrame, or_zero
from throughtime.measures.film import Film, Measure
from throughtime.measures.lag_bands import LagBands
from throughtime.measures.weight_terms import Terms


class StepTerms(Measure[LoopFrame]):
    """Weight term (t, i) = dl_t/dW through step i alone, for every weight that the steps work with.

    Args:
        film: The axes.
        weights: By name.
        bands: The bands of lags in which the terms are summed.
    """

    def __init__(self, film: Film, weights: Mapping[str, Tensor], bands: LagBands) -> None:
        self._film, self._bands = film, bands
        shape = (film.sources, len(film.kept) - 1)
        self._ln_norm = {name: torch.full(shape, -torch.inf, dtype=torch.float64) for name in weights}
        self._by_band = {name: weight.new_zeros(len(bands), *weight.shape) for name, weight in weights.items()}
        self._ln_scale = torch.full((len(bands),), -torch.inf, dtype=torch.float64)

    def update(self, frame: LoopFrame) -> None:
        """Take in the immediate derivatives of one step; the initial state has none."""
        if frame.step == 0:
            return
        lags = self._film.lags(frame)
        band = self._bands.of(lags)
        # Where samples end apart, some are followed further than the largest lag of those that end last.
        log_scale = frame.log_scale.cpu().masked_fill(lags >= self._bands.end, -torch.inf)
        highest = torch.full_like(self._ln_scale, -torch.inf).scatter_reduce(0, band, log_scale, "amax")
        scale = torch.maximum(self._ln_scale, highest)
        shrunk = (self._ln_scale - or_zero(scale)).exp()
        factor = (log_scale - or_zero(scale)[band]).exp()
        column = self._film.column[frame.step] - 1
        for name, terms in frame.immediate.items():
            norm = torch.linalg.vector_norm(terms.reshape(len(terms), -1), dim=-1).double().cpu()
            self._ln_norm[name][frame.sources, column] = norm.log() + frame.log_scale.cpu()
        if (shrunk != 1).any():
            for sums in self._by_band.values():
                sums *= _columns(shrunk.to(sums), sums)
        for name, terms in frame.immediate.items():
            self._by_band[name].index_add_(0, band.to(terms.device), terms * _columns(factor.to(terms), terms))
        self._ln_scale = scale

    def result(self) -> dict[str, Terms]:
        """By weight name."""
        return {
            name: Terms(self._film.in_sequence(ln_norm), self._by_band[name].cpu(), self._ln_scale)
            for name, ln_norm in self._ln_norm.items()
        }


def _columns(factor: Tensor, like: Tensor) -> Tensor:
    return factor.reshape(-1, *[1] * (like.dim() - 1))
