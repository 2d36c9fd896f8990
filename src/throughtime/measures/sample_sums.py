"""What every sample adds to the gradient of the weights at a distance, from which signal and noise are told apart."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import or_zero
from throughtime.compiled import add_by_sample
from throughtime.measures.fewer_directions import fewer_directions
from throughtime.measures.film import Film
from throughtime.measures.lag_bands import LagBands
from throughtime.measures.learned import Family, Learned, Slopes
from throughtime.measures.octaves import Octaves

# Of what a weight is multiplied with, so many random directions are kept where there are more: a scalar product of two
# gradients is then right on average. Its relative variance is 2/16 where both are of rank one, and falls with the rank.
DIRECTIONS = 16
# Numbers of what weights are multiplied with that are worked on together.
NUMBERS_AT_ONCE = 2**18


class SampleSums:
    """By sample and octave of distances, the sum of the weight terms of all sources, of a family of weights.

    It is fed with what the sums by band are made of, in which the sources have been added up and the samples not yet.

    Args:
        film: The axes.
        family: The weights.
        bands: What the rows have been summed in; none of them is in two octaves.
        like: A state of the recurrence, (batch, hidden).
        values: What the weights are multiplied with, in few directions.
    """

    def __init__(
        self, film: Film, family: Family, bands: LagBands, like: Tensor, values: Mapping[Slopes, Tensor]
    ) -> None:
        self.octaves = Octaves.up_to(bands.farthest)
        self._octave = self.octaves.of(bands.distance)
        self._vectors, self._values = family.vectors, values
        self.ln_scale = torch.full((len(self.octaves),), -torch.inf, dtype=torch.float64)
        hidden = like.shape[-1]
        self._sums = {
            slopes: like.new_zeros(film.batch, its.shape[-1], len(self.octaves), len(slopes.parts) * hidden)
            for slopes, its in values.items()
        }

    def add(
        self,
        places: Int[Tensor, " step"],
        rows: Float[Tensor, "step band batch vector hidden"],
        ln_scale: Float[Tensor, "step band"],
    ) -> None:
        """Add the terms of several steps.

        Args:
            places: The steps less one.
            rows: The vectors of all sources of a band, added up.
            ln_scale: The scales of the rows, float64; -inf where there are none.
        """
        grown = self.ln_scale.scatter_reduce(0, self._octave, ln_scale.amax(0), "amax")
        shrunk = (self.ln_scale - or_zero(grown)).exp().to(rows)
        relative = ln_scale - or_zero(grown)[self._octave]
        for slopes, values in self._values.items():
            sums, its = self._sums[slopes], values[places]
            if (shrunk != 1).any():
                sums *= shrunk.unsqueeze(-1)
            if rows.is_cpu:
                add_by_sample(sums, self._octave, rows, relative, its, *slopes.stacked(places, rows, self._vectors))
                continue
            scaled = rows * relative.exp().to(rows)[..., None, None, None]
            by_octave = rows.new_zeros(len(rows), len(grown), *rows.shape[2:]).index_add_(
                1, self._octave.to(rows.device), scaled
            )
            adjoint = slopes.times(places, by_octave.transpose(1, 2), self._vectors)
            # (direction, step) times (step, octave * part * hidden), for every sample
            sums.flatten(2).baddbmm_(its.permute(1, 2, 0), adjoint.flatten(2).transpose(0, 1))
        self.ln_scale = grown

    def result(self, directions: Mapping[Slopes, Tensor] | None = None) -> Iterator[Float[Tensor, "octave batch _"]]:
        """What has been summed, on `ln_scale`: a part for everything that slopes lead to.

        Args:
            directions: Which fewer directions are asked for; None for all.
        """
        for slopes, sums in self._sums.items():
            asked = sums if directions is None else torch.einsum("bdoh,de->beoh", sums, directions[slopes])
            by_part = asked.permute(2, 0, 1, 3).unflatten(3, (len(slopes.parts), -1))
            for part in by_part.unbind(3):
                yield part.flatten(2).cpu()


def numbers_by_sample(film: Film, octaves: int, width: int, parts: Sequence[tuple[int, int]]) -> int:
    """How many numbers are summed up.

    Args:
        film: The axes.
        octaves: Of distances.
        width: The numbers in a state of a sample.
        parts: Of everything that slopes lead to, how many parts it has, and what these are multiplied with.
    """
    return film.batch * octaves * width * sum(count * min(DIRECTIONS, features) for count, features in parts)


def in_directions(film: Film, family: Family, like: Tensor) -> dict[Slopes, Float[Tensor, "time batch direction"]]:
    """What the weights of a family are multiplied with, in few directions: those that share their slopes together."""
    together: dict[Slopes, list[Learned]] = {}
    for weight in family.weights:
        together.setdefault(weight.slopes, []).append(weight)
    return {slopes: _values(film, weights, like) for slopes, weights in together.items()}


def _values(film: Film, weights: Sequence[Learned], like: Tensor) -> Float[Tensor, "time batch direction"]:
    """What the weights are multiplied with, side by side, in few random directions at right angles.

    They are on a scale that keeps the mean of every scalar product. A weight that stands for several counts as often.
    """
    ones = like.new_ones(1, 1, 1).expand(film.steps, film.batch, 1)
    columns = [ones if one.values is None else one.values for one in weights]
    counts = [len(one.names) ** 0.5 for one in weights]
    features = sum(its.shape[-1] for its in columns)
    directions = fewer_directions(like.new_empty(0, features), DIRECTIONS)
    found = like.new_empty(film.steps, film.batch, directions.shape[1])
    # All of them side by side may be as large as the trajectory.
    steps = max(1, NUMBERS_AT_ONCE // (film.batch * features))
    for some in torch.arange(film.steps).split(steps):
        places = slice(int(some[0]), int(some[-1]) + 1)
        beside = torch.cat([its[places] * count for its, count in zip(columns, counts, strict=True)], dim=-1)
        found[places] = beside @ directions if features > DIRECTIONS else beside
    return found
