"""What every group of losses adds to the gradient of the weights at a distance, where not all losses are followed."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from throughtime.adjoint import or_zero
from throughtime.compiled import Forms, add_cell_products, read_rows
from throughtime.measures.band_sums import add_by_torch, steps_at_once
from throughtime.measures.fewer_directions import fewer_directions
from throughtime.measures.film import Film
from throughtime.measures.gathered import Rows
from throughtime.measures.learned import Family, Slopes
from throughtime.measures.octaves import Octaves

# Groups of losses, each evenly spread over the sequence, see `throughtime.measures.lag_profile`. Far fewer than there,
# since every one takes a part in a matrix product: 7 degrees of freedom make an interval a fifth wider than many would.
GROUPS = 8
# Of the directions in which the samples are looked at, so many are kept: only how much the groups differ is asked for,
# relative to what they add up to in the same directions.
DIRECTIONS = 4


class SourceSums:
    """By group of losses and octave of distances, the sum of the weight terms of all samples, of a family of weights.

    Args:
        film: The axes.
        family: The weights.
        octaves: Of distances.
        like: A state of the recurrence, (batch, hidden).
        values: What the weights are multiplied with, in the directions in which samples are looked at.
    """

    def __init__(
        self, film: Film, family: Family, octaves: Octaves, like: Tensor, values: Mapping[Slopes, Tensor]
    ) -> None:
        self._film, self._vectors = film, family.vectors
        self.directions = {slopes: fewer_directions(its, DIRECTIONS) for slopes, its in values.items()}
        self._values = {slopes: its @ self.directions[slopes] for slopes, its in values.items()}
        self._groups = min(GROUPS, film.sources)
        self._octave = torch.arange(len(octaves)).repeat_interleave(self._groups)
        cells, hidden = len(self._octave), like.shape[-1]
        self._first_cell = octaves.of(torch.arange(film.steps + 1)) * self._groups
        self._group = torch.arange(film.sources) % self._groups
        shape = (cells, film.batch, len(family.vectors), hidden)
        self._rows = like.new_zeros(steps_at_once(math.prod(shape), like.is_cpu), *shape)
        self._row_scale = torch.full((len(self._rows), cells), -torch.inf, dtype=torch.float64)
        self._no_roots, self._no_forms = torch.zeros(0, film.sources, dtype=torch.float64), Forms.none(like)
        self._steps: list[int] = []
        self._seen = torch.zeros(cells, dtype=torch.bool)
        self.ln_scale = torch.full((len(octaves),), -torch.inf, dtype=torch.float64)
        self._sums = {
            slopes: like.new_zeros(cells, len(slopes.parts) * its.shape[-1], hidden)
            for slopes, its in self._values.items()
        }

    @property
    def steps_at_once(self) -> int:
        """Of how many steps rows are gathered."""
        return len(self._rows)

    def update(self, rows: Rows) -> None:
        """Take in the vectors of all active sources at some steps."""
        if len(self._steps) + len(rows.steps) > len(self._rows):
            self._sum_up()
        places = slice(len(self._steps), len(self._steps) + len(rows.steps))
        room = self._row_scale[places].flatten(), self._rows[places].flatten(0, 1)
        distance = (self._film.positions[rows.sources] - rows.place - rows.steps.start).abs()
        cell = rows.cells(self._first_cell[distance] + self._group[rows.sources], len(self._octave))
        values, log_scale = list(rows.vectors.values.values()), rows.vectors.log_scale
        if log_scale.is_cpu:
            # Roots are of no forms, and go nowhere.
            read_rows(values, log_scale, cell, *room, rows.sources, self._no_roots, self._no_forms)
        else:
            add_by_torch(values, log_scale, cell, *room)
        self._steps += rows.steps

    def result(self) -> Iterator[Float[Tensor, "octave group _"]]:
        """What has been summed, on `ln_scale`: a part for everything that slopes lead to."""
        self._sum_up()
        # By part (octave, group, direction, hidden).
        unfolded = (
            sums.unflatten(1, (len(slopes.parts), -1)).unflatten(0, (-1, self._groups))
            for slopes, sums in self._sums.items()
        )
        return (part.flatten(2).cpu() for one in unfolded for part in one.unbind(2))

    @property
    def seen(self) -> Bool[Tensor, "octave group"]:
        """Whether a group has any term in an octave."""
        return self._seen.unflatten(0, (-1, self._groups))

    def _sum_up(self) -> None:
        count = len(self._steps)
        scales = self._row_scale[:count]
        touched = (scales > -torch.inf).any(0)
        if touched.any():
            self._seen |= touched
            grown = self.ln_scale.scatter_reduce(0, self._octave, scales.amax(0), "amax")
            shrunk = (self.ln_scale - or_zero(grown)).exp()[self._octave]
            rows, relative = self._rows[:count].flatten(2, 3), scales - or_zero(grown)[self._octave]
            for slopes, sums in self._sums.items():
                if (shrunk != 1).any():
                    sums *= shrunk.to(sums)[:, None, None]
                coefficients = self._coefficients(slopes)
                if rows.is_cpu:
                    add_cell_products(rows, relative, coefficients, sums)
                else:
                    scaled = rows * relative.exp().to(rows)[..., None, None]
                    sums += torch.einsum("scmh,smdh->cdh", scaled, coefficients)
            self.ln_scale = grown
            self._rows[:count, touched] = 0
            self._row_scale[:count] = -torch.inf
        self._steps = []

    def _coefficients(self, slopes: Slopes) -> Float[Tensor, "step member column hidden"]:
        """Of every sample and vector, what its numbers are multiplied with for every part and direction."""
        places = torch.tensor(self._steps) - 1
        found, values = slopes.at(places), self._values[slopes][places]
        steps, batch, directions = values.shape
        shape = (steps, batch, len(self._vectors), len(slopes.parts), directions, self._rows.shape[-1])
        coefficients = values.new_zeros(shape)
        for place, vector in enumerate(self._vectors):
            for index, part in enumerate(slopes.parts):
                if part in found.get(vector, {}):
                    torch.mul(
                        values.unsqueeze(-1), found[vector][part].unsqueeze(2), out=coefficients[:, :, place, index]
                    )
        return coefficients.flatten(3, 4).flatten(1, 2)


def numbers_by_source(film: Film, octaves: int, width: int, parts: Sequence[tuple[int, int]], is_cpu: bool) -> int:
    """How many numbers are summed up, and gathered for it.

    Args:
        film: The axes.
        octaves: Of distances.
        width: The numbers in a state of a sample.
        parts: Of everything that slopes lead to, how many parts it has, and what these are multiplied with.
        is_cpu: Whether the tensors are on the CPU.
    """
    cells = octaves * min(GROUPS, film.sources)
    rows = cells * film.batch * len(film.states) * width
    summed = cells * width * sum(count * min(DIRECTIONS, features) for count, features in parts)
    return steps_at_once(rows, is_cpu) * rows + summed
