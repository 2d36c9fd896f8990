"""Scalar products of vectors with their sum."""

import numpy as np
import torch
from torch import Tensor

from throughtime.compiled.fast import fast


def path_products(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """For every path p, <v_p, sum over q of v_q> and <v_p, v_p>, (path, ...) each, float64.

    They are summed in float64, in which the squares of a strongly saturated path are still numbers.

    Args:
        vectors: v, (path, ..., hidden), contiguous.
    """
    rows = vectors.flatten(1, -2)
    with_sum = torch.empty(rows.shape[:2], dtype=torch.float64)
    squares = torch.empty_like(with_sum)
    _path_products(rows.numpy(), with_sum.numpy(), squares.numpy())
    return with_sum.view(vectors.shape[:-1]), squares.view(vectors.shape[:-1])


@fast
def _path_products(vectors, with_sum, squares):
    paths, rows, hidden = vectors.shape
    total = np.empty(hidden)
    for row in range(rows):
        total[:] = 0.0
        for path in range(paths):
            for h in range(hidden):
                total[h] += vectors[path, row, h]
        for path in range(paths):
            product, square = 0.0, 0.0
            for h in range(hidden):
                value = np.float64(vectors[path, row, h])
                product += value * total[h]
                square += value * value
            with_sum[path, row] = product
            squares[path, row] = square
