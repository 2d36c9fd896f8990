"""The norms of all weight terms, without making a single term.

The term of a dense weight is the sum over samples of outer products p_b v_b^T, of an adjoint p and a value v, so that
its squared Frobenius norm is sum over pairs of samples of (p_b . p_b') (v_b . v_b'). With p_b the sum over vectors a of
slope * a, this is a quadratic form in the vectors, diagonal in the units; its coefficients are the same for all sources
of a step: products of slopes by unit, times the product of values by pair of samples.
"""

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import AtOnce, or_zero
from throughtime.cells import Named
from throughtime.compiled import Forms
from throughtime.measures.film import Film
from throughtime.measures.gathered import Rows
from throughtime.measures.learned import Family, Slopes

# Steps whose forms are made at once.
STEPS_AT_ONCE = 16
# The forms have a coefficient for every pair of samples; with more samples than these, matrix products are faster.
LARGEST_BATCH = 16
# Below it a sum of squares in float32 has lost some of them, or has cancelled; then it is taken again in float64.
SMALLEST_SAFE_SQUARE = 1e-25
# Numbers that are made in float64 at once, so that of many sources of a large batch only some are.
NUMBERS_AT_ONCE = AtOnce(2**18, 2**22)


class TermNorms:
    """ln of the Frobenius norm of every term (t, i), summed over the batch.

    Args:
        film: The axes.
        family: The weights.
        like: A state of the recurrence, (batch, hidden).
    """

    def __init__(self, film: Film, family: Family, like: Tensor) -> None:
        self._family, self._like, self._batch = family, like, film.batch
        self._column = film.column
        # By step first, so that what a step writes lies side by side.
        shape = (len(family.weights), len(film.kept) - 1, film.sources)
        self._ln_norms = torch.full(shape, -torch.inf, dtype=torch.float64)
        # Weights that share their slopes share what these contribute.
        self._slopes = list(dict.fromkeys(weight.slopes for weight in family.weights))
        self._which = torch.tensor([self._slopes.index(weight.slopes) for weight in family.weights])
        self._pairs = _pairs(family, self._slopes, film.batch)
        self._made: range = range(0)
        self._at = self._by_pair = self._ln_scales = torch.zeros(0)

    def forms(self, step: int) -> Forms | None:
        """What gives a row at a step from 1 on its norms; None where products are faster."""
        if self._batch > LARGEST_BATCH:
            return None
        if step not in self._made:
            self._make(step)
        place = step - self._made.start
        return Forms(
            self._at[place],
            self._by_pair[place],
            self._which,
            self._ln_scales[place],
            self._pairs,
            SMALLEST_SAFE_SQUARE if self._like.dtype == torch.float32 else -math.inf,
        )

    def column(self, step: int) -> Float[Tensor, "weight source"]:
        """Where the norms of a step go, in nats."""
        return self._ln_norms[:, int(self._column[step]) - 1]

    def result(self) -> dict[str, Float[Tensor, "source step"]]:
        """By name of the weight, in nats, steps in reading order."""
        return {
            name: ln_norm.T
            for weight, ln_norm in zip(self._family.weights, self._ln_norms, strict=True)
            for name in weight.names
        }

    def _make(self, step: int) -> None:
        """The forms of a step and of those that the film, played backwards, meets next."""
        self._made = range(max(1, step - STEPS_AT_ONCE + 1), step + 1)
        steps = slice(self._made.start - 1, step)
        self._at = self._slopes_side_by_side(steps)
        largest = self._at.abs().amax((2, 3, 4))
        self._at /= _or_one(largest)[..., None, None, None]
        gram = torch.stack([self._gram(weight.values, steps) for weight in self._family.weights], dim=1)
        largest_gram = gram.abs().amax(dim=(2, 3))
        first, second = self._pairs % self._batch
        # A pair of two different members stands for itself and for the pair the other way round.
        times = torch.where(self._pairs[0] == self._pairs[1], 1.0, 2.0).double()
        self._by_pair = gram[..., first, second] / _or_one(largest_gram).unsqueeze(-1) * times
        self._ln_scales = largest.double().log()[:, self._which] + largest_gram.log() / 2

    def _slopes_side_by_side(self, steps: slice) -> Float[Tensor, "step number member part hidden"]:
        """What every member of a pair is multiplied with, 0 where a part does not depend on it."""
        parts = max(len(slopes.parts) for slopes in self._slopes)
        shape = len(self._made), len(self._slopes), len(self._family.vectors), self._batch, parts, self._like.shape[-1]
        found = self._like.new_zeros(shape)
        for number, slopes in enumerate(self._slopes):
            by_vector = slopes.at(steps)
            for place, vector in enumerate(self._family.vectors):
                for part, slope in by_vector.get(vector, {}).items():
                    found[:, number, place, :, slopes.parts.index(part)] = slope
        return found.flatten(2, 3)

    def _gram(self, values: Tensor | None, steps: slice) -> Float[Tensor, "step batch batch"]:
        """The scalar products of the values of all samples."""
        if values is None:
            return torch.ones(len(self._made), self._batch, self._batch, dtype=torch.float64)
        return _gram(values[steps])

    def take_products(self, rows: Rows) -> None:
        """The norms of some rows by matrix products in float64: the adjoints are made, one by one."""
        at_once = max(1, NUMBERS_AT_ONCE.where(self._like.is_cpu) // self._like.numel())
        for start in range(0, len(rows), at_once):
            self._take_some(rows.some(slice(start, start + at_once)))

    def _take_some(self, rows: Rows) -> None:
        log_scale = rows.vectors.log_scale
        largest = or_zero(log_scale.amax(dim=-1, keepdim=True))
        weight = (log_scale - largest).exp().unsqueeze(-1)
        scaled = {name: vector.double() * weight for name, vector in rows.vectors.values.items()}
        adjoints = {slopes: _normalised(self._adjoint(slopes, rows, scaled)) for slopes in self._slopes}
        found = []
        for learned in self._family.weights:
            adjoint, ln_size = adjoints[learned.slopes]
            if learned.values is None:
                square = adjoint.sum(1).square().sum(-1)
            else:
                gram = rows.by_row(_gram(learned.values[rows.places]))
                square = (torch.matmul(adjoint, adjoint.transpose(1, 2)) * gram).sum((1, 2)).clamp(min=0)
            found.append(square.log() / 2 + (ln_size + largest.squeeze(-1)))
        ln_norms = torch.stack(found).cpu()
        self._ln_norms[:, self._column[rows.place + rows.steps.start] - 1, rows.sources] = ln_norms

    def _adjoint(self, slopes: Slopes, rows: Rows, vectors: Named) -> Float[Tensor, "row batch part_hidden"]:
        """Of what the slopes lead to, all parts side by side."""
        by_vector, parts = slopes.at(rows.places), []
        for part in slopes.parts:
            found = [
                vector * rows.by_row(by_vector[name][part].double())
                for name, vector in vectors.items()
                if part in by_vector.get(name, {})
            ]
            parts += [torch.stack(found).sum(0)] if found else []
        return torch.cat(parts, dim=-1) if parts else torch.zeros_like(next(iter(vectors.values())))


def _normalised(adjoint: Float[Tensor, "row batch _"]) -> tuple[Float[Tensor, "row batch _"], Float[Tensor, " row"]]:
    """Every row divided by the largest of its numbers, and the logarithm of that."""
    size = adjoint.abs().amax(dim=(1, 2), keepdim=True)
    return adjoint / _or_one(size), size.flatten().log()


def _pairs(family: Family, all_slopes: Sequence[Slopes], batch: int) -> Int[Tensor, "2 pair"]:
    """Pairs of samples of every two vectors that stand before the same part of any weight, and of each with itself."""
    at_first = [slopes.at(slice(0, 1)) for slopes in all_slopes]
    samples = torch.arange(batch)
    found = [torch.zeros(2, 0, dtype=torch.long)]
    for left, right in combinations_with_replacement(range(len(family.vectors)), 2):
        one, other = family.vectors[left], family.vectors[right]
        if any(slopes.get(one, {}).keys() & slopes.get(other, {}).keys() for slopes in at_first):
            alike = left == right
            both = (
                torch.combinations(samples, 2, with_replacement=True)
                if alike
                else torch.cartesian_prod(samples, samples)
            )
            found.append(both.reshape(-1, 2).T + batch * torch.tensor([[left], [right]]))
    return torch.cat(found, dim=1)


def _or_one(largest: Tensor) -> Tensor:
    """What to divide by."""
    return largest.masked_fill(largest == 0, 1.0)


def _gram(values: Float[Tensor, "*step batch features"]) -> Float[Tensor, "*step batch batch"]:
    return values.double() @ values.double().transpose(-1, -2)
