"""Weight terms: the split of dL/dW over loss steps and state steps."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint import Frame, Pullback
from throughtime.cells import Named
from throughtime.measures.film import Film, Measure
from throughtime.measures.lag_bands import LagBands

# Steps whose rows are gathered before one matrix product takes them all.
STEPS_AT_ONCE = 16


@dataclass(frozen=True)
class Terms:
    """The weight terms of one weight.

    Args:
        ln_norm: ln of the Frobenius norm of term (t, i), summed over the batch, in nats; steps 1..T in the order of
            their labels.
        by_band: The sum of all terms in every band of lags.
        ln_scale: What `by_band` is to be multiplied with, as a logarithm, per band.
    """

    ln_norm: Float[Tensor, "source state_step"]
    by_band: Tensor
    ln_scale: Float[Tensor, " band"]

    def bands(self) -> Float[Tensor, "band ..."]:
        """The sums by band as float64, too small ones rounded to 0."""
        scale = self.ln_scale.exp().reshape(-1, *[1] * (self.by_band.dim() - 1))
        return self.by_band.double() * scale


class WeightTerms(Measure):
    """Weight term (t, i) = delta(t, i) * immediate derivative at i, for every weight of a recurrence.

    The immediate derivative of a dense layer is an outer product, so the norm of a term summed over the batch is
    sum over samples b, b' of (p_b . p_b') (v_b . v_b') with p the adjoint of the pre-activation and v what the weight
    is multiplied with; the term itself is never made.
    """

    def __init__(self, film: Film, pullback: Pullback, bands: LagBands) -> None:
        self._film = film
        states, inputs = pullback.trajectory.states["h"][:-1], pullback.trajectory.inputs
        self._biases = pullback.weights.bias_hh is not None
        self._one_side = pullback.one_pre_activation
        if self._one_side:
            self._hidden = self._input = _Side(film, bands, {"weight_hh": states, "weight_ih": inputs})
        else:
            self._hidden = _Side(film, bands, {"weight_hh": states})
            self._input = _Side(film, bands, {"weight_ih": inputs})

    def update(self, frame: Frame) -> None:
        """Take in the pre-activation adjoints of one frame; the initial state has no terms."""
        if frame.step == 0:
            return
        lags = self._film.lags(frame)
        self._hidden.update(frame, frame.recurrent_pre, lags)
        if not self._one_side:
            self._input.update(frame, frame.input_pre, lags)

    def result(self) -> dict[str, Terms]:
        """By weight name, in torch's order."""
        hidden, inputs = self._hidden.result(self._film), self._input.result(self._film)
        terms = {"weight_ih": inputs["weight_ih"], "weight_hh": hidden["weight_hh"]}
        return terms | ({"bias_ih": inputs["bias"], "bias_hh": hidden["bias"]} if self._biases else {})


class _Side:
    """The terms of all weights that share one pre-activation adjoint: the bias, and what multiplies `values`."""

    def __init__(self, film: Film, bands: LagBands, values: Named) -> None:
        self._bands, self._values = bands, values
        self._grams = {name: value.double() @ value.double().transpose(1, 2) for name, value in values.items()}
        shape = (film.sources, film.steps)
        self._ln_norms = {
            name: torch.full(shape, -torch.inf, dtype=torch.float64) for name in (*values, "bias")
        }
        ones = next(iter(values.values())).new_ones(film.steps, film.batch, 1)
        self._columns = torch.cat([*values.values(), ones], dim=-1)
        self._sums: Tensor | None = None
        self._ln_scale = torch.full((len(bands),), -torch.inf, dtype=torch.float64)
        self._rows: list[tuple[int, Tensor, Tensor]] = []

    def update(self, frame: Frame, pre: Tensor, lags: Tensor) -> None:
        self._norms(frame, pre)
        self._rows.append((frame.step, *self._by_band(frame, pre, lags)))
        if len(self._rows) == STEPS_AT_ONCE:
            self._flush()

    def result(self, film: Film) -> dict[str, Terms]:
        """By name of the weight, and "bias"."""
        self._flush()
        assert self._sums is not None, "no frame was played"
        widths = [value.shape[-1] for value in self._values.values()] + [1]
        parts = dict(zip(self._ln_norms, self._sums.split(widths, dim=-1), strict=True))
        parts["bias"] = parts["bias"].squeeze(-1)
        return {name: Terms(film.in_sequence(self._ln_norms[name]), part, self._ln_scale) for name, part in parts.items()}

    def _norms(self, frame: Frame, pre: Tensor) -> None:
        scale = frame.adjoint.log_scale
        largest = _finite(scale.max(dim=-1, keepdim=True).values)
        weight = (scale - largest).exp()
        # Samples cancel one another in the sum over the batch, so it is taken in float64.
        gram = torch.matmul(pre, pre.transpose(1, 2)).double() * weight.unsqueeze(1) * weight.unsqueeze(2)
        squares = {
            name: torch.einsum("sbc,bc->s", gram, values[frame.step - 1]).clamp(min=0)
            for name, values in self._grams.items()
        }
        summed = torch.matmul(weight.to(pre.dtype).unsqueeze(1), pre).squeeze(1)
        squares["bias"] = torch.linalg.vector_norm(summed, dim=-1).double().square()
        for name, square in squares.items():
            self._ln_norms[name][frame.sources, frame.step - 1] = square.log() / 2 + largest.squeeze(-1)

    def _by_band(self, frame: Frame, pre: Tensor, lags: Tensor) -> tuple[Tensor, Tensor]:
        """The rows summed over the sources of every band, and their scale per band."""
        band = self._bands.of(lags)
        scale = frame.adjoint.log_scale
        highest = self._ln_scale.new_full((len(self._bands),), -torch.inf)
        highest.scatter_reduce_(0, band, scale.max(dim=-1).values, "amax")
        factor = (scale - _finite(highest)[band].unsqueeze(-1)).exp().to(pre.dtype)
        rows = pre.new_zeros(len(self._bands), *pre.shape[1:])
        return rows.index_add_(0, band, pre * factor.unsqueeze(-1)), highest

    def _flush(self) -> None:
        if not self._rows:
            return
        steps, rows, scales = zip(*self._rows, strict=True)
        self._rows = []
        scale = torch.stack(scales)
        common = torch.maximum(self._ln_scale, scale.max(dim=0).values)
        touched = common > -torch.inf
        weight = (scale[:, touched] - common[touched]).exp()
        gathered = torch.stack(rows, dim=1)[touched]
        gathered *= weight.T.to(gathered.dtype)[:, :, None, None]
        values = self._columns[torch.tensor(steps) - 1]
        if self._sums is None:
            self._sums = values.new_zeros(len(self._bands), gathered.shape[-1], values.shape[-1])
        kept = (_finite(self._ln_scale)[touched] - common[touched]).exp().to(values.dtype)
        kept = kept.masked_fill(self._ln_scale[touched] == -torch.inf, 0.0)
        product = torch.einsum("lmbg,mbh->lgh", gathered, values)
        self._sums[touched] = self._sums[touched] * kept[:, None, None] + product
        self._ln_scale = common


def _finite(log_scale: Tensor) -> Tensor:
    """-inf replaced by 0, to be subtracted without making NaN."""
    return log_scale.masked_fill(log_scale == -torch.inf, 0.0)
