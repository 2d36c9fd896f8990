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
        self._film, self._bands = film, bands
        self._both = pullback.one_pre_activation
        trajectory = pullback.trajectory
        hidden, inputs = trajectory.states["h"][:-1], trajectory.inputs
        biases = pullback.weights.bias_hh is not None
        sides = {"hh": _Side(film, bands, hidden), "ih": _Side(film, bands, inputs)}
        if self._both:
            sides = {"both": _Side(film, bands, torch.cat([hidden, inputs], dim=-1), split=hidden.shape[-1])}
        self._sides, self._biases, self._hidden = sides, biases, hidden.shape[-1]

    def update(self, frame: Frame) -> None:
        """Take in the pre-activation adjoints of one frame; the initial state has no terms."""
        if frame.step == 0:
            return
        lags = self._film.lags(frame)
        if self._both:
            self._sides["both"].update(frame, frame.recurrent_pre, lags)
        else:
            self._sides["hh"].update(frame, frame.recurrent_pre, lags)
            self._sides["ih"].update(frame, frame.input_pre, lags)

    def result(self) -> dict[str, Terms]:
        """By weight name, in torch's order."""
        finished = {name: side.result(self._film) for name, side in self._sides.items()}
        if self._both:
            first, second, bias = finished["both"]
            split = {"weight_ih": second, "weight_hh": first, "bias_ih": bias, "bias_hh": bias}
        else:
            (hh, _, bias_hh), (ih, _, bias_ih) = finished["hh"], finished["ih"]
            split = {"weight_ih": ih, "weight_hh": hh, "bias_ih": bias_ih, "bias_hh": bias_hh}
        return {name: terms for name, terms in split.items() if self._biases or not name.startswith("bias")}


class _Side:
    """The terms of the weights that share one pre-activation adjoint: those of `values`' columns, and the bias."""

    def __init__(self, film: Film, bands: LagBands, values: Tensor, split: int | None = None) -> None:
        self._bands, self._values = bands, values
        self._parts = [values] if split is None else [values[..., :split], values[..., split:]]
        self._grams = [part.double() @ part.double().transpose(1, 2) for part in self._parts]
        shape = (film.sources, film.steps)
        self._ln_norms = [torch.full(shape, -torch.inf, dtype=torch.float64) for _ in range(len(self._parts) + 1)]
        self._sums: Tensor | None = None
        self._ln_scale = torch.full((len(bands),), -torch.inf, dtype=torch.float64)
        self._rows: list[tuple[int, Tensor, Tensor]] = []

    def update(self, frame: Frame, pre: Tensor, lags: Tensor) -> None:
        self._norms(frame, pre)
        self._rows.append((frame.step, *self._by_band(frame, pre, lags)))
        if len(self._rows) == STEPS_AT_ONCE:
            self._flush()

    def result(self, film: Film) -> tuple[Terms, Terms | None, Terms]:
        """The terms of the first part's weight, of the second's if there is one, and of the bias."""
        self._flush()
        assert self._sums is not None, "no frame was played"
        widths = [part.shape[-1] for part in self._parts] + [1]
        sums = list(self._sums.split(widths, dim=-1))
        sums[-1] = sums[-1].squeeze(-1)
        terms = [
            Terms(film.in_sequence(norm), part, self._ln_scale)
            for norm, part in zip(self._ln_norms, sums, strict=True)
        ]
        return terms[0], terms[1] if len(terms) == 3 else None, terms[-1]

    def _norms(self, frame: Frame, pre: Tensor) -> None:
        scale = frame.adjoint.log_scale
        largest = _finite(scale.max(dim=-1, keepdim=True).values)
        weight = (scale - largest).exp()
        # Samples cancel one another in the sum over the batch, so it is taken in float64.
        gram = torch.matmul(pre, pre.transpose(1, 2)).double() * weight.unsqueeze(1) * weight.unsqueeze(2)
        squares = [torch.einsum("sbc,bc->s", gram, values[frame.step - 1]).clamp(min=0) for values in self._grams]
        summed = torch.einsum("sb,sbg->sg", weight.to(pre.dtype), pre)
        squares.append(torch.linalg.vector_norm(summed, dim=-1).double().square())
        for ln_norm, square in zip(self._ln_norms, squares, strict=True):
            ln_norm[frame.sources, frame.step - 1] = square.log() / 2 + largest.squeeze(-1)

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
        index = torch.tensor(steps) - 1
        values = self._values[index]
        values = torch.cat([values, values.new_ones(*values.shape[:-1], 1)], dim=-1)
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
