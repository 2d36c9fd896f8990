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


def step_product(
    vectors: Tensor,
    slopes: Sequence[Tensor],
    weights: Sequence[Tensor],
    carry: Tensor | None,
    into: Tensor,
    adding: bool,
    formed: bool,
) -> Tensor:
    """v (diag(carry) + sum over gates g of diag(slope_g) W_g) for all vectors v, on all of torch's threads.

    Args:
        vectors: (batch, row, hidden).
        slopes: By gate, (batch, hidden); one at least.
        weights: By gate, (hidden, projected).
        carry: (batch, hidden), where projected is hidden; None for zeros.
        into: Where to write it, (batch, row, projected), contiguous.
        adding: Whether to add it to what is there.
        formed: Whether to form the matrix in brackets, once a sample, or to multiply every vector by the slopes and
            take it through the weights of every gate.

    Returns:
        The norms of what stands in `into` then, (batch, row), float64, taken while it is still near.
    """
    ready(vectors.dtype)
    # None would be another type, for which all would be compiled again.
    direct = vectors.new_empty(0, 0) if carry is None else carry
    norms = vectors.new_empty(vectors.shape[:2], dtype=torch.float64)
    side_by_side(
        _multiply_side_by_side,
        parts(vectors.shape[0] * vectors.shape[1], ROWS_AT_ONCE),
        vectors.contiguous().numpy(),
        tuple(np.ascontiguousarray(slope.numpy()) for slope in slopes),
        tuple(np.ascontiguousarray(weight.numpy()) for weight in weights),
        direct.numpy(),
        into.numpy(),
        norms.numpy(),
        adding,
        formed,
    )
    return norms


@fast_in_parts
def _multiply_side_by_side(ends, vectors, slopes, weights, carry, into, norms, adding, formed):
    for part in prange(len(ends) - 1):
        if formed:
            _formed(ends[part], ends[part + 1], vectors, slopes, weights, carry, into, norms, adding)
        else:
            _through_gates(ends[part], ends[part + 1], vectors, slopes, weights, carry, into, norms, adding)


@fast
def _formed(first, end, vectors, slopes, weights, carry, into, norms, adding):
    _, count, hidden = vectors.shape
    projected = into.shape[2]
    matrix = np.empty((hidden, projected), dtype=vectors.dtype)
    sample = first // max(1, count)
    while sample * count < end:
        for j in range(hidden):
            row, slope, weight = matrix[j], slopes[0][sample, j], weights[0][j]
            for k in range(projected):
                row[k] = slope * weight[k]
            for gate in range(1, len(slopes)):
                slope, weight = slopes[gate][sample, j], weights[gate][j]
                for k in range(projected):
                    row[k] += slope * weight[k]
            if len(carry):
                row[j] += carry[sample, j]
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
def _through_gates(first, end, vectors, slopes, weights, carry, into, norms, adding):
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
                        result[i, j] = given[i, j] * carry[sample, j] + (result[i, j] if adding else 0)
            elif not adding:
                result[:] = 0
            for gate in range(len(slopes)):
                slope = slopes[gate][sample]
                for i in range(len(given)):
                    for j in range(hidden):
                        scaled[i, j] = given[i, j] * slope[j]
                add_product(result, scaled[: len(given)], weights[gate])
            for i in range(len(result)):
                norms[sample, row + i] = row_norm(result[i])
        sample += 1
