"""Vectors with their magnitude kept apart, so that e^-5000 is a number and not 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from throughtime.capture import AdjointNotFinite
from throughtime.cells import Named
from throughtime.compiled import row_norms

# Rows are rescaled once their norm has left e^-16 .. e^16: far from float32's limits of e^-87 and e^88 even after one
# more step of strong growth or decay, and seldom enough to cost nothing.
LARGEST_LN_NORM = 16.0
# The largest power of two by which a float32 row is scaled at once.
LARGEST_EXPONENT = 120.0
OUT_OF_RANGE = (
    "the gradient left the range of its dtype within a single step; examine a copy in float64: "
    "copy.deepcopy(model).double()"
)


@dataclass(frozen=True)
class Scaled:
    """Rows of numbers, values * exp(log_scale), one scale for all states of a row.

    Args:
        values: By state name, (source, batch, hidden).
        log_scale: (source, batch), float64, in nats; -inf marks a row that is exactly zero.
        known: By state, the norms of its rows where somebody has taken them, (source, batch), float64.
    """

    values: Named
    log_scale: Tensor
    known: Named = field(default_factory=dict)

    def __getitem__(self, rows: slice | Tensor) -> Scaled:
        """Some of the sources."""
        known = {state: norms[rows] for state, norms in self.known.items()}
        return Scaled({state: value[rows] for state, value in self.values.items()}, self.log_scale[rows], known)

    def padded(self, batch: int) -> Scaled:
        """With rows of zeros for further samples."""
        more = batch - self.log_scale.shape[1]
        values = {state: functional.pad(value, (0, 0, 0, more)) for state, value in self.values.items()}
        return Scaled(values, functional.pad(self.log_scale, (0, more), value=-math.inf))

    @cached_property
    def norms(self) -> Named:
        """By state, the norm of every row on its scale, (source, batch), float64."""
        return {
            state: self.known[state] if state in self.known else norms_of(value) for state, value in self.values.items()
        }

    def ln_square(self, state: str) -> Tensor:
        """ln of the squared norm of every row, (source, batch), float64; -inf for zero."""
        return 2 * (self.norms[state].log() + self.log_scale)

    def normalised_(self) -> Scaled:
        """The same numbers, with the scale of every row that has grown too large or too small moved to `log_scale`.

        In place; what is returned has the norms that were looked at. Scales are powers of two, so that moving them
        loses no bit.

        Raises:
            AdjointNotFinite: Rows are no longer finite; their places are its sources.
        """
        fresh = Scaled(self.values, self.log_scale, self.known)
        if self.log_scale.numel() == 0:
            return fresh
        norm = _length(fresh.norms)
        if _in_range(norm):
            return fresh
        if not norm.isfinite().all():
            raise AdjointNotFinite("adjoint", OUT_OF_RANGE, (~norm.isfinite()).any(dim=-1).nonzero().squeeze(-1).cpu())
        zero = norm == 0
        self.log_scale.masked_fill_(zero, -torch.inf)
        if ((norm.log().abs() < LARGEST_LN_NORM) | zero).all():
            return fresh
        exponent = torch.where(zero, 1.0, norm).log2().round().clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT)
        factor = torch.exp2(-exponent).unsqueeze(-1)
        for value in self.values.values():
            value *= factor.to(value.dtype)
        self.log_scale.add_(exponent, alpha=math.log(2))
        return Scaled(self.values, self.log_scale)

    def plus(self, other: Scaled) -> Scaled:
        """The sum of two, row by row."""
        common = torch.maximum(self.log_scale, other.log_scale)
        mine, theirs = (_relative(one.log_scale, common, self.log_scale) for one in (self, other))
        return Scaled(
            {
                state: value * mine.to(value.dtype) + other.values[state] * theirs.to(value.dtype)
                for state, value in self.values.items()
            },
            common,
        )

    def add_(
        self,
        state: str,
        rows: Tensor | slice,
        values: Tensor,
        log_scale: Tensor,
        norms: Tensor | None = None,
        empty: bool = False,
    ) -> None:
        """Add further values to one state in place, each row with a scale of its own.

        Args:
            state: The state they are added to.
            rows: Which of the sources they belong to.
            values: (row, batch, hidden).
            log_scale: (row, batch).
            norms: Of the values, (row, batch), float64, where they are known.
            empty: Whether it is known that these rows are all zero, as nearly always; else it is looked at.
        """
        mine = self.log_scale[rows]
        first = empty or mine.numel() == 0 or float(mine.amax()) == -math.inf
        if first:
            self.values[state][rows] = values
            self.log_scale[rows] = log_scale
        else:
            common = torch.maximum(mine, log_scale)
            for value in self.values.values():
                value[rows] *= _relative(mine, common, value)
            self.values[state][rows] += values * _relative(log_scale, common, values)
            self.log_scale[rows] = common
        for name, known in self.known.items():
            given = norms if first and name == state else None
            known[rows] = norms_of(self.values[name][rows]) if given is None else given

    def add_on_scale_(self, state: str, rows: Tensor | slice, values: Tensor, log_scale: Tensor) -> None:
        """The same on the scale that a row has, whether that is the larger or not; on its own where it has none.

        No norm is known afterwards.
        """
        mine = self.log_scale[rows]
        common = torch.where(mine == -torch.inf, log_scale, mine)
        self.values[state][rows] += values * _relative(log_scale, common, values)
        self.log_scale[rows] = common


def joined(parts: Sequence[Scaled]) -> Scaled:
    """The rows of several, one after the other."""
    values = {state: torch.cat([part.values[state] for part in parts]) for state in parts[0].values}
    return Scaled(values, torch.cat([part.log_scale for part in parts]))


def stacked(parts: Sequence[Scaled]) -> Scaled:
    """Several with as many rows, along a new first axis."""
    values = {state: torch.stack([part.values[state] for part in parts]) for state in parts[0].values}
    return Scaled(values, torch.stack([part.log_scale for part in parts]))


def _length(norms: Named) -> Tensor:
    """The norm of rows that consist of several states."""
    return reduce(torch.hypot, norms.values())


def _in_range(norm: Tensor) -> bool:
    """Whether no row needs another scale: none is zero, too small, too large or not finite."""
    # In one reading: a GPU is waited for.
    smallest, largest = torch.stack(torch.aminmax(norm)).cpu().tolist()
    return smallest > math.exp(-LARGEST_LN_NORM) and largest < math.exp(LARGEST_LN_NORM)


def norms_of(rows: Float[Tensor, "*rows hidden"]) -> Float[Tensor, "*rows"]:
    """Norms in float64, in which no square of a float32 number gets lost."""
    if rows.device.type == "cpu":
        return row_norms(rows)
    return torch.linalg.vector_norm(rows, dim=-1, dtype=torch.float64)


def _relative(log_scale: Tensor, common: Tensor, like: Tensor) -> Tensor:
    """exp(log_scale - common) as a column, 0 where both are -inf."""
    factor = torch.where(log_scale == -torch.inf, 0.0, (log_scale - common).exp())
    return factor.to(like.dtype).unsqueeze(-1)


def or_zero(log_scale: Tensor) -> Tensor:
    """-inf replaced by 0, to be subtracted without making NaN."""
    return log_scale.masked_fill(log_scale == -torch.inf, 0.0)
