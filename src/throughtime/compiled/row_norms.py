"""Norms of rows, in float64."""

from typing import Any

import numpy as np
import torch
from numba import prange
from torch import Tensor

from throughtime.compiled.fast import fast, fast_in_parts, in_line, parts, side_by_side

# As many rows take longer than it takes to call a thread.
ROWS_A_THREAD = 64
# Sums of squares above it have lost nothing to what float64 cannot represent.
SMALLEST_SQUARE = 1e-280


def row_norms(rows: Tensor) -> Tensor:
    """The Euclidean norm over the last axis, summed in float64, in which no square of a float32 number gets lost.

    Where the squares of float64 numbers leave their range, they are taken relative to the largest number of the row.

    Args:
        rows: (..., hidden).

    Returns:
        (...), float64.
    """
    (line,), ((apart, samples_apart),) = in_line([rows if rows.dim() == 3 else rows.reshape(-1, 1, rows.shape[-1])])
    found = torch.empty(rows.shape[:-1], dtype=torch.float64, device=rows.device)
    into = found if rows.dim() == 3 else found.view(-1, 1)
    side_by_side(
        _norms_side_by_side, parts(len(into), ROWS_A_THREAD), line, apart, samples_apart, rows.shape[-1], into.numpy()
    )
    return found


@fast_in_parts
def _norms_side_by_side(ends, line, apart, samples_apart, hidden, into):
    for part in prange(len(ends) - 1):
        _row_norms(ends[part], ends[part + 1], line, apart, samples_apart, hidden, into)


@fast
def _row_norms(first, end, line, apart, samples_apart, hidden, into):
    for i in range(first, end):
        for j in range(into.shape[1]):
            begin = i * apart + j * samples_apart
            into[i, j] = row_norm(line[begin : begin + hidden])


@fast
def row_norm(row: Any) -> Any:
    """Of one row, for compiled code."""
    square = 0.0
    for k in range(len(row)):
        square += np.float64(row[k]) * np.float64(row[k])
    return _relative_norm(row) if square <= SMALLEST_SQUARE or square == np.inf else np.sqrt(square)


@fast
def _relative_norm(row):
    largest = 0.0
    for k in range(len(row)):
        largest = max(largest, abs(np.float64(row[k])))
    if largest == 0.0 or largest == np.inf:
        return largest
    square = 0.0
    for k in range(len(row)):
        square += (np.float64(row[k]) / largest) ** 2
    return largest * np.sqrt(square)
