"""Weight terms: the split of dL/dW over loss steps and state steps."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.adjoint import Pullback, Scaled, SweptFrame, or_zero
from throughtime.cells import Named
from throughtime.measures.film import Film, Measure
from throughtime.measures.lag_bands import LagBands

# Steps whose rows are gathered before one matrix product per band takes them all.
STEPS_AT_ONCE = 32
# In nats: how much larger than a band's scale its rows may become before the band is rescaled. Far below float32's 88.
LARGEST_LN_GROWTH = 20.0


@dataclass(frozen=True)
class Terms:
    """The weight terms of one weight.

    Args:
        ln_norm: ln of the Frobenius norm of term (t, i), summed over the batch, in nats; steps 1..T in the order of
            their labels.
        by_band: The sum of all terms in every band of lags, on the band's scale.
        ln_scale: What every band is to be multiplied with, as a logarithm.
    """

    ln_norm: Float[Tensor, "source state_step"]
    by_band: Float[Tensor, "band *weight"]
    ln_scale: Float[Tensor, " band"]

    def gram(self, reference: float) -> Float[Tensor, "band band"]:
        """The scalar products of all pairs of bands, times exp(-2 reference), float64."""
        flat = self.by_band.reshape(len(self.by_band), -1).double()
        scale = (self.ln_scale - reference).exp().unsqueeze(1)
        return (flat @ flat.T) * scale * scale.T

    def norms(self) -> Float[Tensor, " band"]:
        """The Frobenius norm of every band, float64."""
        return (
            torch.linalg.vector_norm(self.by_band.reshape(len(self.by_band), -1).double(), dim=-1) * self.ln_scale.exp()
        )

    def total(self) -> Float[Tensor, "*weight"]:
        """The sum of all terms, float64: what a backward pass leaves in .grad."""
        return torch.tensordot(self.ln_scale.exp(), self.by_band.double(), dims=1)


class WeightTerms(Measure[SweptFrame]):
    """Weight term (t, i) = delta(t, i) * immediate derivative at i, for every weight of a recurrence.

    The immediate derivative of a dense layer is an outer product, so the norm of a term summed over the batch is
    sum over samples b, b' of (p_b . p_b') (v_b . v_b') with p the adjoint of the pre-activation and v what the weight
    is multiplied with; the term itself is never made. A weight that is a vector is treated as a bias is, with what it
    is multiplied with as a slope more.
    """

    def __init__(self, film: Film, pullback: Pullback, bands: LagBands) -> None:
        self._film = film
        weights, trajectory = pullback.weights, pullback.trajectory
        states, inputs, output = trajectory.before("h"), trajectory.inputs, trajectory.output
        self._names = tuple(weights.named())
        vectors = [name for name, weight in weights.named().items() if name[:6] == "weight" and weight.dim() == 1]
        of_input, of_state = {"weight_ih": inputs}, {"weight_hh": states}
        dense = weights.weight_hh is not None and "weight_hh" not in vectors
        self._sides: list[tuple[_Side, Callable[[SweptFrame], Scaled]]]
        if dense and pullback.one_pre_activation:
            shared = _Side(film, bands, of_state | of_input, ("bias_ih", "bias_hh"), weights.weight_ih)
            self._sides = [(shared, attrgetter("recurrent_pre"))]
        else:
            self._sides = [(_Side(film, bands, of_input, ("bias_ih",), weights.weight_ih), attrgetter("input_pre"))]
        if weights.weight_hh is not None and dense and not pullback.one_pre_activation:
            recurrent = _Side(film, bands, of_state, ("bias_hh",), weights.weight_hh)
            self._sides.append((recurrent, attrgetter("recurrent_pre")))
        if weights.weight_hr is not None and output is not None:
            projection = _Side(film, bands, {"weight_hr": output}, (), weights.weight_hr)
            self._sides.append((projection, attrgetter("projection")))
        for name in vectors:
            self._sides.append((_Side(film, bands, {}, (name,), weights.named()[name]), partial(_vector, name=name)))
        # What multiplies an adjoint in the immediate derivatives: all these and 1.
        values = [states, inputs, *([] if output is None else [output])]
        values += [trajectory.before(pullback.cell.carried)] if vectors else []
        squares = torch.stack([value.double().square().sum(-1) for value in values])
        self._multiplied = (squares.sum(0) + 1).log() / 2
        self._ln_unslowed = torch.tensor(-torch.inf, dtype=torch.float64)

    def update(self, frame: SweptFrame) -> None:
        """Take in the pre-activation adjoints of one frame; the initial state has no terms."""
        if frame.step == 0:
            return
        largest = torch.stack(list(frame.ln_square.values())).amax(0) / 2
        ln_terms = (largest + self._multiplied[frame.step - 1]).logsumexp((0, 1))
        self._ln_unslowed = torch.logaddexp(self._ln_unslowed, ln_terms)
        lags = self._film.lags(frame)
        for side, adjoint in self._sides:
            side.update(frame, adjoint(frame), lags)

    def without_slopes(self) -> float:
        """What the terms' norms would add up to at most if every slope were 1.

        It is what the rounding of slopes works on: autograd computes 1 - tanh(a)^2 with an error of an epsilon, however
        small the slope.
        """
        return float(self._ln_unslowed.exp())

    def result(self) -> dict[str, Terms]:
        """By weight name, in torch's order."""
        found = {name: term for side, _ in self._sides for name, term in side.result(self._film).items()}
        return {name: found[name] for name in self._names}


def _vector(frame: SweptFrame, name: str) -> Scaled:
    return frame.vectors[name]


class _Side:
    """The terms of all weights that share one pre-activation adjoint: the biases, and what multiplies `values`."""

    def __init__(self, film: Film, bands: LagBands, values: Named, biases: tuple[str, ...], weight: Tensor) -> None:
        self._bands, self._values, self._biases = bands, values, biases
        self._grams = {name: value.double() @ value.double().transpose(1, 2) for name, value in values.items()}
        shape = (film.sources, film.steps)
        self._ln_norms = {name: torch.full(shape, -torch.inf, dtype=torch.float64) for name in (*values, "bias")}
        ones = weight.new_ones(film.steps, film.batch, 1)
        self._columns = torch.cat([*values.values(), ones], dim=-1)
        self._ln_scale = torch.full((len(bands),), -torch.inf, dtype=torch.float64)
        rows = len(weight)
        self._sums = ones.new_zeros(len(bands), rows, self._columns.shape[-1])
        self._rows = ones.new_zeros(len(bands), STEPS_AT_ONCE, film.batch, rows)
        self._steps: list[int] = []

    def update(self, frame: SweptFrame, adjoint: Scaled, lags: Tensor) -> None:
        self._norms(frame, adjoint.values["pre"], adjoint.log_scale)
        self._gather(frame.step, adjoint.values["pre"], adjoint.log_scale, self._bands.of(lags))
        if len(self._steps) == STEPS_AT_ONCE:
            self._sum_up()

    def result(self, film: Film) -> dict[str, Terms]:
        """By name of the weight."""
        self._sum_up()
        widths = [value.shape[-1] for value in self._values.values()] + [1]
        parts = dict(zip(self._ln_norms, self._sums.split(widths, dim=-1), strict=True))
        parts["bias"] = parts["bias"].squeeze(-1)
        terms = {
            name: Terms(film.in_sequence(self._ln_norms[name]), part, self._ln_scale) for name, part in parts.items()
        }
        bias = terms.pop("bias")
        return terms | dict.fromkeys(self._biases, bias)

    def _norms(self, frame: SweptFrame, pre: Tensor, scale: Tensor) -> None:
        largest = or_zero(scale.max(dim=-1, keepdim=True).values)
        weight = (scale - largest).exp()
        # Samples cancel one another in the sum over the batch, so it is taken in float64.
        gram = torch.matmul(pre, pre.transpose(1, 2)).double() * weight.unsqueeze(1) * weight.unsqueeze(2)
        squares = {
            name: (gram * values[frame.step - 1]).sum((1, 2)).clamp(min=0) for name, values in self._grams.items()
        }
        summed = torch.matmul(weight.to(pre.dtype).unsqueeze(1), pre).squeeze(1)
        squares["bias"] = torch.linalg.vector_norm(summed, dim=-1).double().square()
        for name, square in squares.items():
            self._ln_norms[name][frame.sources, frame.step - 1] = square.log() / 2 + largest.squeeze(-1)

    def _gather(self, step: int, pre: Tensor, scale: Tensor, band: Tensor) -> None:
        """Add the rows of one step to those that wait, summed over the sources of every band, on the band's scale."""
        self._make_room(torch.full_like(self._ln_scale, -torch.inf).scatter_reduce(0, band, scale.amax(-1), "amax"))
        factor = (scale - or_zero(self._ln_scale)[band].unsqueeze(-1)).exp().to(pre.dtype)
        self._rows[:, len(self._steps)].index_add_(0, band, pre * factor.unsqueeze(-1))
        self._steps.append(step)

    def _make_room(self, highest: Tensor) -> None:
        """Give bands that are new a scale, and those whose rows have outgrown theirs a larger one."""
        new = self._ln_scale == -torch.inf
        outgrown = ~new & (highest > self._ln_scale + LARGEST_LN_GROWTH)
        if outgrown.any():
            self._sum_up()
            self._sums[outgrown] *= (self._ln_scale - highest)[outgrown].exp().to(self._sums.dtype)[:, None, None]
        self._ln_scale = torch.where(new | outgrown, highest, self._ln_scale)

    def _sum_up(self) -> None:
        in_use = (self._ln_scale > -torch.inf).nonzero()
        count, touched = len(self._steps), int(in_use.max()) + 1 if len(in_use) else 0
        values = self._columns[torch.tensor(self._steps, dtype=torch.long) - 1].flatten(0, 1)
        rows = self._rows[:touched, :count].flatten(1, 2)
        self._sums[:touched].baddbmm_(rows.transpose(1, 2), values.expand(touched, -1, -1))
        self._rows[:touched, :count] = 0
        self._steps = []
