"""The norms of all weight terms, without making a single term.

The term of a dense weight is the sum over samples of outer products p_b v_b^T, of an adjoint p and a value v, so that
its squared Frobenius norm is sum over pairs of samples of (p_b . p_b') (v_b . v_b'). With p_b the sum over vectors a of
slope * a, this is a quadratic form in the vectors, diagonal in the units; its coefficients are the same for all sources
of a step.
"""

import math
from collections.abc import Sequence
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import Scaled, or_zero
from throughtime.cells import Named
from throughtime.compiled import ln_quadratic_forms
from throughtime.measures.film import Film
from throughtime.measures.learned import Family

# Steps whose forms are made at once.
STEPS_AT_ONCE = 16
# The forms have a coefficient for every pair of samples; with more samples than these, matrix products are faster.
LARGEST_BATCH = 16
# Below it a sum of squares in float32 has lost some of them, or has cancelled; then it is taken again in float64.
SMALLEST_SAFE_SQUARE = 1e-25


class TermNorms:
    """ln of the Frobenius norm of every term (t, i), summed over the batch.

    Args:
        film: The axes.
        family: The weights.
        hidden: How wide their vectors are.
    """

    def __init__(self, film: Film, family: Family, hidden: int) -> None:
        self._family, self._hidden, self._batch = family, hidden, film.batch
        self._column = film.column
        shape = (len(family.weights), film.sources, len(film.kept) - 1)
        self._ln_norms = torch.full(shape, -torch.inf, dtype=torch.float64)
        self._blocks = _blocks(family, film.batch)
        self._pairs = torch.cat([torch.zeros(2, 0, dtype=torch.long), *(block.pairs for block in self._blocks)], dim=1)
        self._made: range = range(0)
        self._forms = torch.zeros(0)
        self._ln_scales = torch.zeros(0)

    def update(self, step: int, sources: Int[Tensor, " active"], vectors: Scaled) -> None:
        """Take in the vectors of all active sources at a step from 1 on."""
        if not self._blocks:
            # Nothing that is learned has an effect.
            return
        values = list(vectors.values.values())
        if not values[0].is_cpu or self._batch > LARGEST_BATCH:
            self._by_products(step, sources, values, vectors.log_scale)
            return
        if step not in self._made:
            self._make(step, values[0].dtype)
        place = step - self._made.start
        ln_scale, form = self._ln_scales[place], self._forms[place]
        column = int(self._column[step]) - 1
        smallest = SMALLEST_SAFE_SQUARE if form.dtype == torch.float32 else -math.inf
        safe = ln_quadratic_forms(
            values, vectors.log_scale, form, ln_scale, self._pairs, sources, column, self._ln_norms, smallest
        )
        if not safe:
            self._by_products(step, sources, values, vectors.log_scale)

    def result(self) -> dict[str, Float[Tensor, "source step"]]:
        """By name of the weight, in nats, steps in reading order."""
        return {
            name: ln_norm
            for weight, ln_norm in zip(self._family.weights, self._ln_norms, strict=True)
            for name in weight.names
        }

    def _make(self, step: int, dtype: torch.dtype) -> None:
        """The forms of a step and of those that the film, played backwards, meets next; none larger than 1."""
        self._made = range(max(1, step - STEPS_AT_ONCE + 1), step + 1)
        steps = slice(self._made.start - 1, step)
        shape = len(self._made), self._hidden
        # Weights that share their slopes share what these contribute.
        of_slopes = {
            slopes: [block.of_slopes(slopes.at(steps), self._family.vectors, shape) for block in self._blocks]
            for slopes in {weight.slopes for weight in self._family.weights}
        }
        forms = torch.stack(
            [self._form(of_slopes[weight.slopes], weight.values, steps) for weight in self._family.weights], dim=1
        )
        largest = forms.abs().amax(dim=(2, 3))
        self._ln_scales = largest.log() / 2
        self._forms = (forms / largest.masked_fill(largest == 0, 1.0)[..., None, None]).to(dtype)

    def _form(
        self, of_slopes: Sequence[Tensor], values: Tensor | None, steps: slice
    ) -> Float[Tensor, "step pair hidden"]:
        if values is None:
            return torch.cat(list(of_slopes), dim=1)
        gram = _gram(values[steps])
        return torch.cat(
            [part * block.of_samples(gram).unsqueeze(-1) for block, part in zip(self._blocks, of_slopes, strict=True)],
            dim=1,
        )

    def _by_products(self, step: int, sources: Tensor, vectors: Sequence[Tensor], log_scale: Tensor) -> None:
        """The same by matrix products in float64: the adjoints are made, one by one."""
        largest = or_zero(log_scale.amax(dim=-1, keepdim=True))
        weight = (log_scale - largest).exp().unsqueeze(-1)
        scaled = [vector.double() * weight for vector in vectors]
        for index, learned in enumerate(self._family.weights):
            slopes = learned.slopes.at(slice(step - 1, step))
            parts = []
            for part in learned.slopes.parts:
                found = [
                    vector * slopes[name][part].double()
                    for name, vector in zip(self._family.vectors, scaled, strict=True)
                    if part in slopes.get(name, {})
                ]
                parts += [torch.stack(found).sum(0)] if found else []
            pre = torch.cat(parts, dim=-1) if parts else torch.zeros_like(scaled[0])
            size = pre.abs().amax(dim=(1, 2), keepdim=True)
            pre = pre / size.masked_fill(size == 0, 1.0)
            if learned.values is None:
                square = pre.sum(1).square().sum(-1)
            else:
                gram = _gram(learned.values[step - 1])
                square = (torch.matmul(pre, pre.transpose(1, 2)) * gram).sum((1, 2)).clamp(min=0)
            ln_norm = square.log() / 2 + (size.flatten().log() + largest.squeeze(-1))
            self._ln_norms[index, sources, self._column[step] - 1] = ln_norm.cpu()


class _Block:
    """The pairs of samples, one of each of two vectors, or of the same twice.

    Args:
        left: Place of the one vector.
        right: Place of the other.
        batch: Samples.
    """

    def __init__(self, left: int, right: int, batch: int) -> None:
        self._left, self._right = left, right
        samples = torch.arange(batch)
        combined = torch.combinations(samples, 2, with_replacement=True)
        both = combined if left == right else torch.cartesian_prod(samples, samples)
        self._samples = both.reshape(-1, 2).T
        # A pair of two different members stands for itself and for the pair the other way round.
        once = (self._samples[0] == self._samples[1]) & (left == right)
        self._times = torch.where(once, 1.0, 2.0).double().unsqueeze(-1)
        self.pairs = self._samples + batch * torch.tensor([[left], [right]])

    def of_slopes(
        self, slopes: dict[str, Named], names: tuple[str, ...], shape: tuple[int, int]
    ) -> Float[Tensor, "step pair hidden"]:
        """The sum over parts of the products of both members' slopes, float64.

        Args:
            slopes: By vector and part.
            names: Of the vectors.
            shape: Steps and units.
        """
        one, other = slopes.get(names[self._left], {}), slopes.get(names[self._right], {})
        first, second = self._samples
        total = torch.zeros(shape[0], len(first), shape[1], dtype=torch.float64)
        for part in filter(other.__contains__, one):
            total += one[part].double()[:, first] * other[part].double()[:, second]
        return total * self._times

    def of_samples(self, gram: Float[Tensor, "step batch batch"]) -> Float[Tensor, "step pair"]:
        """The scalar products of both members' values."""
        first, second = self._samples
        return gram[:, first, second]


def _blocks(family: Family, batch: int) -> list[_Block]:
    """Of every two vectors that stand before the same part of any weight."""
    all_slopes = [weight.slopes.at(slice(0, 1)) for weight in family.weights]
    return [
        _Block(left, right, batch)
        for left, right in combinations_with_replacement(range(len(family.vectors)), 2)
        if any(
            slopes.get(family.vectors[left], {}).keys() & slopes.get(family.vectors[right], {}).keys()
            for slopes in all_slopes
        )
    ]


def _gram(values: Float[Tensor, "*step batch features"]) -> Float[Tensor, "*step batch batch"]:
    return values.double() @ values.double().transpose(-1, -2)
