"""Norms of rows, in float64."""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from throughtime.compiled.fast import FAST, in_line


def row_norms(rows: Tensor) -> Tensor:
    """The Euclidean norm over the last axis, summed in float64, in which no square of a float32 number gets lost.

    Args:
        rows: (..., hidden).

    Returns:
        (...), float64.
    """
    (line,), ((apart, samples_apart),) = in_line([rows if rows.dim() == 3 else rows.reshape(-1, 1, rows.shape[-1])])
    found = torch.empty(rows.shape[:-1], dtype=torch.float64, device=rows.device)
    into = found if rows.dim() == 3 else found.view(-1, 1)
    _row_norms(line, apart, samples_apart, rows.shape[-1], into.numpy())
    return found


@njit(**FAST)
def _row_norms(line, apart, samples_apart, hidden, into):
    for i in range(into.shape[0]):
        for j in range(into.shape[1]):
            begin, square = i * apart + j * samples_apart, 0.0
            row = line[begin : begin + hidden]
            for k in range(len(row)):
                square += np.float64(row[k]) * np.float64(row[k])
            into[i, j] = np.sqrt(square)
