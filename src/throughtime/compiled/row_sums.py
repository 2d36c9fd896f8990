"""Sums of rows by band, each row with a scale of its own."""

from collections.abc import Sequence

import numpy as np
from numba import njit
from torch import Tensor

from throughtime.compiled.fast import FAST, arrays


def add_rows(vectors: Sequence[Tensor], log_scale: Tensor, band: Tensor, ln_scale: Tensor, into: Tensor) -> None:
    """Add every row to those of its band, on the scale of the largest of them.

    Args:
        vectors: One or more (row, batch, hidden).
        log_scale: The scales of their rows, (row, batch), float64; -inf for a row that is zero.
        band: Of every row.
        ln_scale: (band,), float64, -inf throughout; receives the scale of every band.
        into: (band, batch, vector, hidden), zero throughout; receives the sums.
    """
    _add_rows(arrays(vectors), log_scale.numpy(), band.numpy(), ln_scale.numpy(), into.numpy())


@njit(**FAST)
def _add_rows(vectors, log_scale, band, ln_scale, into):
    count, batch = log_scale.shape
    for row in range(count):
        for b in range(batch):
            ln_scale[band[row]] = max(ln_scale[band[row]], log_scale[row, b])
    for row in range(count):
        for b in range(batch):
            if log_scale[row, b] > -np.inf:
                factor = into.dtype.type(np.exp(log_scale[row, b] - ln_scale[band[row]]))
                for v in range(len(vectors)):
                    vector = vectors[v]
                    for h in range(vector.shape[2]):
                        into[band[row], b, v, h] += vector[row, b, h] * factor
