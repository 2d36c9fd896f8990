"""Rows that lie in cells, multiplied with what their step, sample and vector have for every column."""

import numpy as np
from torch import Tensor

from throughtime.compiled.fast import fast


def add_cell_products(rows: Tensor, ln_scale: Tensor, coefficients: Tensor, into: Tensor) -> None:
    """Add to every cell and column the sum over steps and members of row * coefficient, unit by unit.

    Args:
        rows: (step, cell, member, hidden), contiguous. Members are the vectors of all samples.
        ln_scale: The scales of the rows, (step, cell), float64; -inf where a cell is empty.
        coefficients: (step, member, column, hidden), contiguous.
        into: (cell, column, hidden), contiguous; receives the sums, on a scale of 1.
    """
    _add_cell_products(*(tensor.numpy() for tensor in (rows, ln_scale, coefficients, into)))


@fast
def _add_cell_products(rows, ln_scale, coefficients, into):
    steps, cells, members, hidden = rows.shape
    # Four members at a time, so that a sum is brought from memory once for all of them; those that are missing are 0.
    scaled = np.zeros((members + 3, hidden), dtype=rows.dtype)
    missing = np.zeros(hidden, dtype=rows.dtype)
    for step in range(steps):
        for cell in range(cells):
            if ln_scale[step, cell] == -np.inf:
                continue
            factor = rows.dtype.type(np.exp(ln_scale[step, cell]))
            for member in range(members):
                for h in range(hidden):
                    scaled[member, h] = rows[step, cell, member, h] * factor
            for member in range(0, members, 4):
                r0, r1, r2, r3 = scaled[member], scaled[member + 1], scaled[member + 2], scaled[member + 3]
                of = coefficients[step]
                for column in range(into.shape[1]):
                    c0 = of[member, column]
                    c1 = of[member + 1, column] if member + 1 < members else missing
                    c2 = of[member + 2, column] if member + 2 < members else missing
                    c3 = of[member + 3, column] if member + 3 < members else missing
                    total = into[cell, column]
                    for h in range(hidden):
                        total[h] += r0[h] * c0[h] + r1[h] * c1[h] + r2[h] * c2[h] + r3[h] * c3[h]
