"""Products with a step Jacobian, which is another one for every sample."""

from collections.abc import Sequence

import numpy as np
import torch
from numba import prange
from torch import Tensor

from throughtime.compiled.fast import fast, fast_in_parts, parts, side_by_side
from throughtime.compiled.product import add_product, ready
from throughtime.compiled.row_norms import row_norm

# Vectors that are multiplied at a time: what is read again and again stays in the nearest caches.
ROWS_AT_ONCE = 64


class StepProducts:
    """Products with the step Jacobians of neighbouring steps, diag(carry) + sum over gates g of diag(slope_g) W_g.

    Args:
        slopes: By gate, (time, batch, hidden); one at least.
        weights: By gate, (hidden, projected).
        carry: (time, batch, hidden), where projected is hidden; None for zeros.

    Attributes:
        formed_together: Whether those of many steps are formed at once, so that it always pays.
    """

    formed_together = False

    def __init__(self, slopes: Sequence[Tensor], weights: Sequence[Tensor], carry: Tensor | None) -> None:
        # None would be another type, for which all would be compiled again.
        direct = slopes[0].new_empty(0, 0, 0) if carry is None else carry
        self._slopes = tuple(_array(slope) for slope in slopes)
        self._weights = tuple(_array(weight) for weight in weights)
        self._carry = _array(direct)
        ready(slopes[0].dtype)

    def multiply(self, place: int, vectors: Tensor, into: Tensor, adding: bool, formed: bool) -> Tensor:
        """v J for all vectors v, on all of torch's threads.

        Args:
            place: The step, counted from 0.
            vectors: (batch, row, hidden).
            into: Where to write it, (batch, row, projected), contiguous.
            adding: Whether to add it to what is there.
            formed: Whether to form J, once a sample, or to multiply every vector by the slopes and take it through the
                weights of every gate.

        Returns:
            The norms of what stands in `into` then, (batch, row), float64, taken while it is still near.
        """
        batch, rows, _ = vectors.shape
        norms = np.empty((batch, rows))
        side_by_side(
            _multiply_side_by_side,
            parts(batch * rows, ROWS_AT_ONCE),
            place,
            vectors.contiguous().numpy(),
            self._slopes,
            self._weights,
            self._carry,
            into.numpy(),
            norms,
            adding,
            formed,
        )
        return torch.from_numpy(norms)


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy())


@fast_in_parts
def _multiply_side_by_side(ends, place, vectors, slopes, weights, carry, into, norms, adding, formed):
    for part in prange(len(ends) - 1):
        if formed:
            _formed(ends[part], ends[part + 1], place, vectors, slopes, weights, carry, into, norms, adding)
        else:
            _through_gates(ends[part], ends[part + 1], place, vectors, slopes, weights, carry, into, norms, adding)


@fast
def _formed(first, end, place, vectors, slopes, weights, carry, into, norms, adding):
    _, count, hidden = vectors.shape
    projected = into.shape[2]
    matrix = np.empty((hidden, projected), dtype=vectors.dtype)
    sample = first // max(1, count)
    while sample * count < end:
        for j in range(hidden):
            row, slope, weight = matrix[j], slopes[0][place, sample, j], weights[0][j]
            for k in range(projected):
                row[k] = slope * weight[k]
            for gate in range(1, len(slopes)):
                slope, weight = slopes[gate][place, sample, j], weights[gate][j]
                for k in range(projected):
                    row[k] += slope * weight[k]
            if len(carry):
                row[j] += carry[place, sample, j]
        begin, stop = max(first, sample * count), min(end, (sample + 1) * count)
        for row in range(begin - sample * count, stop - sample * count, ROWS_AT_ONCE):
            rows = slice(row, min(row + ROWS_AT_ONCE, stop - sample * count))
            if not adding:
                into[sample, rows] = 0
            add_product(into[sample, rows], vectors[sample, rows], matrix)
            for i in range(rows.start, rows.stop):
                norms[sample, i] = row_norm(into[sample, i])
        sample += 1


@fast
def _through_gates(first, end, place, vectors, slopes, weights, carry, into, norms, adding):
    _, count, hidden = vectors.shape
    scaled = np.empty((ROWS_AT_ONCE, hidden), dtype=vectors.dtype)
    sample = first // max(1, count)
    while sample * count < end:
        begin, stop = max(first, sample * count), min(end, (sample + 1) * count)
        for row in range(begin - sample * count, stop - sample * count, ROWS_AT_ONCE):
            rows = slice(row, min(row + ROWS_AT_ONCE, stop - sample * count))
            result, given = into[sample, rows], vectors[sample, rows]
            if len(carry):
                for i in range(len(given)):
                    for j in range(hidden):
                        result[i, j] = given[i, j] * carry[place, sample, j] + (result[i, j] if adding else 0)
            elif not adding:
                result[:] = 0
            for gate in range(len(slopes)):
                slope = slopes[gate][place, sample]
                for i in range(len(given)):
                    for j in range(hidden):
                        scaled[i, j] = given[i, j] * slope[j]
                add_product(result, scaled[: len(given)], weights[gate])
            for i in range(len(result)):
                norms[sample, row + i] = row_norm(result[i])
        sample += 1
