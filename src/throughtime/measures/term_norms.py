"""The norms of all weight terms, without making a single term.

The term of a dense weight is the sum over samples of outer products p_b v_b^T, of an adjoint p and a value v, so that
its squared Frobenius norm is sum over pairs of samples of (p_b . p_b') (v_b . v_b'). With p_b the sum over vectors a of
slope * a, this is a quadratic form in the vectors, diagonal in the units; its coefficients are the same for all sources
of a step: products of slopes by unit, times the product of values by pair of samples.
"""

import math
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import Scaled, or_zero
from throughtime.cells import Named
from throughtime.compiled import Forms
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
        like: A state of the recurrence, (batch, hidden).
    """

    def __init__(self, film: Film, family: Family, like: Tensor) -> None:
        self._family, self._like, self._batch = family, like, film.batch
        self._column = film.column
        # By step first, so that what a step writes lies side by side.
        shape = (len(family.weights), len(film.kept) - 1, film.sources)
        self._ln_norms = torch.full(shape, -torch.inf, dtype=torch.float64)
        self._blocks = _blocks(family, film.batch)
        self._pairs = torch.cat([torch.zeros(2, 0, dtype=torch.long), *(block.pairs for block in self._blocks)], dim=1)
        # Weights that share their slopes share what these contribute.
        self._slopes = list(dict.fromkeys(weight.slopes for weight in family.weights))
        self._which = torch.tensor([self._slopes.index(weight.slopes) for weight in family.weights])
        self._made: range = range(0)
        self._by_unit = self._by_pair = self._ln_scales = torch.zeros(0)

    def forms(self, step: int) -> Forms | None:
        """What gives a row at a step from 1 on its norms; None where products are faster."""
        if self._batch > LARGEST_BATCH:
            return None
        if step not in self._made:
            self._make(step)
        place = step - self._made.start
        return Forms(
            self._by_unit[place],
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
        by_unit, by_slopes = zip(*(self._of_slopes(slopes.at(steps)) for slopes in self._slopes), strict=True)
        by_pair, by_values = zip(
            *(self._of_values(weight.values, steps) for weight in self._family.weights), strict=True
        )
        self._by_unit, self._by_pair = torch.stack(by_unit, dim=1), torch.stack(by_pair, dim=1)
        self._ln_scales = torch.stack(by_slopes, dim=1)[:, self._which] + torch.stack(by_values, dim=1)

    def _of_slopes(self, slopes: dict[str, Named]) -> tuple[Float[Tensor, "step pair hidden"], Float[Tensor, " step"]]:
        """The products of slopes on the scale of the largest slope of every step, and ln of that scale."""
        sizes = [slope.abs().amax(dim=(1, 2)) for by_part in slopes.values() for slope in by_part.values()]
        largest = torch.stack([self._like.new_zeros(len(self._made)), *sizes]).amax(0)
        size = _or_one(largest)[:, None, None]
        scaled = {vector: {part: slope / size for part, slope in by_part.items()} for vector, by_part in slopes.items()}
        nothing = self._like.new_zeros(len(self._made), 1, self._like.shape[-1])
        products = [block.of_slopes(scaled, self._family.vectors, nothing) for block in self._blocks]
        return torch.cat([nothing[:, :0], *products], dim=1), largest.double().log()

    def _of_values(
        self, values: Tensor | None, steps: slice
    ) -> tuple[Float[Tensor, "step pair"], Float[Tensor, " step"]]:
        """The products of values on the scale of the largest one of every step, and ln of that scale's root."""
        gram = torch.ones(len(self._made), self._batch, self._batch, dtype=torch.float64)
        if values is not None:
            gram = _gram(values[steps])
        largest = gram.abs().amax(dim=(1, 2))
        gram = gram / _or_one(largest)[:, None, None]
        return torch.cat(
            [gram[:, 0, :0], *(block.of_samples(gram) for block in self._blocks)], dim=1
        ), largest.log() / 2

    def take_products(self, step: int, sources: Int[Tensor, " active"], vectors: Scaled) -> None:
        """The norms at a step by matrix products in float64: the adjoints are made, one by one.

        Args:
            step: From 1 on.
            sources: Which are active.
            vectors: Of these.
        """
        log_scale, column = vectors.log_scale, self.column(step)
        largest = or_zero(log_scale.amax(dim=-1, keepdim=True))
        weight = (log_scale - largest).exp().unsqueeze(-1)
        scaled = [vector.double() * weight for vector in vectors.values.values()]
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
            column[index, sources] = ln_norm.cpu()


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
        self._times = torch.where(once, 1.0, 2.0).double()
        self.pairs = self._samples + batch * torch.tensor([[left], [right]])

    def of_slopes(
        self, slopes: dict[str, Named], names: tuple[str, ...], nothing: Float[Tensor, "step 1 hidden"]
    ) -> Float[Tensor, "step pair hidden"]:
        """The sum over parts of the products of both members' slopes.

        Args:
            slopes: By vector and part.
            names: Of the vectors.
            nothing: Zeros, which stand for the products where there are none.
        """
        one, other = slopes.get(names[self._left], {}), slopes.get(names[self._right], {})
        first, second = self._samples
        products = [one[part][:, first] * other[part][:, second] for part in filter(other.__contains__, one)]
        return sum(products[1:], products[0]) if products else nothing.expand(-1, len(first), -1)

    def of_samples(self, gram: Float[Tensor, "step batch batch"]) -> Float[Tensor, "step pair"]:
        """The scalar products of both members' values, as often as they count."""
        first, second = self._samples
        return gram[:, first, second] * self._times


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


def _or_one(largest: Tensor) -> Tensor:
    """What to divide by."""
    return largest.masked_fill(largest == 0, 1.0)


def _gram(values: Float[Tensor, "*step batch features"]) -> Float[Tensor, "*step batch batch"]:
    return values.double() @ values.double().transpose(-1, -2)
