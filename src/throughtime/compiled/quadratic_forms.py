"""Quadratic forms that many vectors share, diagonal in the units and full in the samples."""

from collections.abc import Sequence

import numpy as np
from numba import njit
from torch import Tensor

from throughtime.compiled.fast import FAST, arrays


def ln_quadratic_forms(
    vectors: Sequence[Tensor],
    log_scale: Tensor,
    form: Tensor,
    ln_scale: Tensor,
    pairs: Tensor,
    rows: Tensor,
    column: int,
    into: Tensor,
    smallest: float,
) -> bool:
    """ln of the square root of sum over pairs (e, e') and units h of form[f, (e, e'), h] v[e, h] v[e', h].

    Args:
        vectors: One or more (row, batch, hidden); e runs over these, and within each over the samples.
        log_scale: The scales of their rows, (row, batch), float64.
        form: (form, pair, hidden), on the dtype of the vectors. A pair that stands for (e', e) too has twice its
            coefficient.
        ln_scale: What to add to every logarithm, (form,), float64; -inf where a form is zero.
        pairs: e and e' of every pair, (2, pair).
        rows: For every row, where it goes.
        column: The column that it goes to.
        into: (form, rows, column), float64, in nats. What is negative, by rounding, counts as 0.
        smallest: What sums are not to be trusted below.

    Returns:
        Whether all sums can be trusted.
    """
    return bool(
        _quadratic_forms(
            arrays(vectors),
            log_scale.numpy(),
            form.numpy(),
            ln_scale.numpy(),
            pairs.numpy(),
            rows.numpy(),
            column,
            into.numpy(),
            smallest,
        )
    )


@njit(**FAST)
def _quadratic_forms(vectors, log_scale, form, ln_scale, pairs, rows, column, into, smallest):
    count, batch = log_scale.shape
    forms, _, hidden = form.shape
    together = np.empty((len(vectors) * batch, hidden), dtype=form.dtype)
    product = np.empty(hidden, dtype=form.dtype)
    total = np.empty(forms)
    safe = True
    for row in range(count):
        largest = -np.inf
        for b in range(batch):
            largest = max(largest, log_scale[row, b])
        total[:] = 0.0
        if largest == -np.inf:
            into[:, rows[row], column] = -np.inf
            continue
        for v in range(len(vectors)):
            vector = vectors[v]
            for b in range(batch):
                weight = form.dtype.type(np.exp(log_scale[row, b] - largest))
                for h in range(hidden):
                    together[v * batch + b, h] = vector[row, b, h] * weight
        for pair in range(pairs.shape[1]):
            left, right = pairs[0, pair], pairs[1, pair]
            for h in range(hidden):
                product[h] = together[left, h] * together[right, h]
            for f in range(forms):
                summed = form.dtype.type(0)
                for h in range(hidden):
                    summed += product[h] * form[f, pair, h]
                total[f] += summed
        for f in range(forms):
            safe = safe and (total[f] >= smallest or ln_scale[f] == -np.inf)
            into[f, rows[row], column] = largest + ln_scale[f] + np.log(max(total[f], 0.0)) / 2
    return safe
