"""One reading of the rows of a step, from which all is made that every row goes into.

What a row goes into takes fewer microseconds than to bring it from memory, so that it is brought once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numba import prange
from torch import Tensor

from throughtime.compiled.fast import fast, fast_in_parts, in_line, parts, side_by_side

# As many rows take longer than it takes to call a thread.
ROWS_A_THREAD = 16


@dataclass(frozen=True)
class Forms:
    """Quadratic forms that all rows share, diagonal in the units and full in the samples.

    Form f is sum over pairs (e, e') of by_pair[f, (e, e')] times the sum over parts p and units h of
    slope[which[f], e, p, h] v[e, h] slope[which[f], e', p, h] v[e', h], which serves all forms that share the slopes.
    The members e of a pair run over the vectors of a row, and within each over the samples.

    Args:
        slopes: (number, member, part, hidden), of the dtype of the vectors.
        by_pair: (form, pair), float64. A pair that stands for (e', e) too has twice its coefficient.
        which: Number of the slopes of every form, (form,).
        ln_scale: What to add to the logarithms of the roots, (form,), float64; -inf where a form is zero.
        pairs: e and e' of every pair, (2, pair).
        smallest: What sums are not to be trusted below.
    """

    slopes: Tensor
    by_pair: Tensor
    which: Tensor
    ln_scale: Tensor
    pairs: Tensor
    smallest: float

    @classmethod
    def none(cls, like: Tensor) -> Forms:
        """No forms at all, of vectors like this one."""
        empty, none = like.new_zeros(0, 0, 0, like.shape[-1]), torch.zeros(0, dtype=torch.float64)
        return cls(empty, none.unsqueeze(1), none.long(), none, torch.zeros(2, 0, dtype=torch.long), -math.inf)


def read_rows(
    vectors: Sequence[Tensor],
    log_scale: Tensor,
    band: Tensor,
    ln_scale: Tensor,
    sums: Tensor,
    places: Tensor,
    roots: Tensor,
    forms: Forms | None,
) -> bool:
    """Add every row to those of its band, on the scale of the largest of them, and take the roots of its forms.

    Args:
        vectors: One or more (row, batch, hidden).
        log_scale: The scales of their rows, (row, batch), float64; -inf for a row that is zero.
        band: Of every row.
        ln_scale: (band,), float64, -inf throughout; receives the scale of every band.
        sums: (band, batch, vector, hidden), zero throughout; receives the sums.
        places: For every row, where its roots go.
        roots: (form, place), float64; receives ln of the square root of every form of every row, in nats. A form that
            is negative, by rounding, counts as 0.
        forms: The forms; None for none, which cannot be trusted.

    Returns:
        Whether all forms can be trusted.
    """
    given = Forms.none(vectors[0]) if forms is None else forms
    coefficients = (given.slopes, given.by_pair, given.which, given.ln_scale, given.pairs)
    arrays = [tensor.numpy() for tensor in (log_scale, band, ln_scale, sums, places, roots, *coefficients)]
    ends = parts(len(log_scale), ROWS_A_THREAD)
    # Threads must not add to the same numbers.
    more = np.empty((len(ends) - 2, *sums.shape), dtype=arrays[3].dtype)
    safe = np.empty(len(ends) - 1, dtype=np.bool_)
    side_by_side(_read_side_by_side, ends, more, safe, *in_line(vectors), *arrays, given.smallest)
    return forms is not None and bool(safe.all())


@fast_in_parts
def _read_side_by_side(
    ends,
    more,
    safe,
    lines,
    apart,
    log_scale,
    band,
    band_scale,
    sums,
    places,
    roots,
    slopes,
    by_pair,
    which,
    form_scale,
    pairs,
    smallest,
):
    _band_scales(log_scale, band, band_scale)
    for part in prange(len(ends) - 1):
        if part > 0:
            first, end = _bands_of(band, ends[part], ends[part + 1])
            _clear(more[part - 1, first:end])
        safe[part] = _read_rows(
            ends[part],
            ends[part + 1],
            lines,
            apart,
            log_scale,
            band,
            band_scale,
            sums if part == 0 else more[part - 1],
            places,
            roots,
            slopes,
            by_pair,
            which,
            form_scale,
            pairs,
            smallest,
        )
    for part in range(1, len(ends) - 1):
        first, end = _bands_of(band, ends[part], ends[part + 1])
        _add_up(more[part - 1, first:end], sums[first:end])


@fast
def _bands_of(band, begin, end):
    """From the first to behind the last band of some rows, which are in few of them: the others are not looked at."""
    first, last = band[begin], band[begin]
    for row in range(begin, end):
        first, last = min(first, band[row]), max(last, band[row])
    return first, last + 1


# Number by number: for whole arrays Numba would compile what it says of shapes that do not fit, for seconds.
@fast
def _clear(sums):
    into = sums.reshape(-1)
    for number in range(len(into)):
        into[number] = 0


@fast
def _add_up(more, sums):
    added, into = more.reshape(-1), sums.reshape(-1)
    for number in range(len(into)):
        into[number] += added[number]


@fast
def _band_scales(log_scale, band, into):
    for row in range(log_scale.shape[0]):
        largest = into[band[row]]
        for b in range(log_scale.shape[1]):
            largest = max(largest, log_scale[row, b])
        into[band[row]] = largest


@fast
def _read_rows(
    begin,
    end,
    lines,
    apart,
    log_scale,
    band,
    band_scale,
    sums,
    places,
    roots,
    slopes,
    by_pair,
    which,
    form_scale,
    pairs,
    smallest,
):
    batch = log_scale.shape[1]
    numbers, many, hidden = len(slopes), pairs.shape[1], sums.shape[3]
    by_unit = _pair_products(slopes, pairs)
    # Four rows at a time, so that a coefficient is read once for all of them and their sums do not wait for each other.
    rows = np.zeros((len(lines) * batch, 4, hidden), dtype=sums.dtype)
    summed = np.empty((numbers, 4, many), dtype=sums.dtype)
    largest = np.empty(4)
    safe = True
    for first in range(begin, end, 4):
        some = min(4, end - first)
        _bring(lines, apart, log_scale, first, some, rows, largest)
        for row in range(some):
            if largest[row] > -np.inf:
                factor = sums.dtype.type(np.exp(largest[row] - band_scale[band[first + row]]))
                for b in range(batch):
                    for v in range(len(lines)):
                        added, total = rows[v * batch + b, row], sums[band[first + row], b, v]
                        for h in range(hidden):
                            total[h] += added[h] * factor
        for pair in range(many):
            left, right = pairs[0, pair], pairs[1, pair]
            # Two at a time as far as there are two: what they share is multiplied once.
            for number in range(0, numbers - 1, 2):
                one0 = one1 = one2 = one3 = two0 = two1 = two2 = two3 = sums.dtype.type(0)
                for h in range(hidden):
                    one, two = by_unit[number, pair, h], by_unit[number + 1, pair, h]
                    product0, product1 = rows[left, 0, h] * rows[right, 0, h], rows[left, 1, h] * rows[right, 1, h]
                    product2, product3 = rows[left, 2, h] * rows[right, 2, h], rows[left, 3, h] * rows[right, 3, h]
                    one0 += product0 * one
                    one1 += product1 * one
                    one2 += product2 * one
                    one3 += product3 * one
                    two0 += product0 * two
                    two1 += product1 * two
                    two2 += product2 * two
                    two3 += product3 * two
                summed[number, 0, pair], summed[number, 1, pair] = one0, one1
                summed[number, 2, pair], summed[number, 3, pair] = one2, one3
                summed[number + 1, 0, pair], summed[number + 1, 1, pair] = two0, two1
                summed[number + 1, 2, pair], summed[number + 1, 3, pair] = two2, two3
            for number in range(numbers - numbers % 2, numbers):
                sum0 = sum1 = sum2 = sum3 = sums.dtype.type(0)
                for h in range(hidden):
                    coefficient = by_unit[number, pair, h]
                    sum0 += rows[left, 0, h] * rows[right, 0, h] * coefficient
                    sum1 += rows[left, 1, h] * rows[right, 1, h] * coefficient
                    sum2 += rows[left, 2, h] * rows[right, 2, h] * coefficient
                    sum3 += rows[left, 3, h] * rows[right, 3, h] * coefficient
                summed[number, 0, pair], summed[number, 1, pair] = sum0, sum1
                summed[number, 2, pair], summed[number, 3, pair] = sum2, sum3
        for row in range(some):
            for form in range(len(which)):
                total = 0.0
                for pair in range(many):
                    total += summed[which[form], row, pair] * by_pair[form, pair]
                nothing = largest[row] == -np.inf or form_scale[form] == -np.inf
                safe = safe and (nothing or total >= smallest)
                roots[form, places[first + row]] = largest[row] + form_scale[form] + np.log(max(total, 0.0)) / 2
    return safe


@fast
def _pair_products(slopes, pairs):
    """The sums over parts of the slopes of both members of a pair, (number, pair, hidden)."""
    numbers, _, parts, hidden = slopes.shape
    found = np.zeros((numbers, pairs.shape[1], hidden), dtype=slopes.dtype)
    for number in range(numbers):
        for pair in range(pairs.shape[1]):
            for part in range(parts):
                into, left, right = (
                    found[number, pair],
                    slopes[number, pairs[0, pair], part],
                    slopes[number, pairs[1, pair], part],
                )
                for h in range(hidden):
                    into[h] += left[h] * right[h]
    return found


@fast
def _bring(lines, apart, log_scale, first, some, into, largest):
    """Some rows of all vectors and samples, each row on the scale of its largest sample, -inf if all are zero."""
    batch, hidden = log_scale.shape[1], into.shape[2]
    for row in range(some):
        largest[row] = -np.inf
        for b in range(batch):
            largest[row] = max(largest[row], log_scale[first + row, b])
    for v in range(len(lines)):
        line = lines[v]
        for b in range(batch):
            for row in range(some):
                less = log_scale[first + row, b] - largest[row] if largest[row] > -np.inf else -np.inf
                factor = into.dtype.type(np.exp(less))
                begin = (first + row) * apart[v, 0] + b * apart[v, 1]
                # As arrays of their own, so that no index is looked at for its sign in the loop.
                found, scaled = line[begin : begin + hidden], into[v * batch + b, row]
                for h in range(hidden):
                    scaled[h] = found[h] * factor
