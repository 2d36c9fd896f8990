"""Products of values with the adjoints of many rows, which are made where they are multiplied.

The adjoint of a part is the sum over vectors of row * slope, unit by unit. Those of all rows would fill more memory
than the caches hold; those of a single band or sample are multiplied before they leave them.
"""

import numpy as np
from numba import prange
from torch import Tensor

from throughtime.compiled.fast import fast, fast_in_parts, parts, side_by_side
from throughtime.compiled.product import add_product, ready


def add_by_band(
    sums: Tensor, first: int, end: int, rows: Tensor, ln_scale: Tensor, values: Tensor, slopes: Tensor, which: Tensor
) -> None:
    """Add to every band the sum over steps and samples of the outer products of values and adjoints.

    Args:
        sums: (value, band, part * hidden), contiguous; receives the sums, on a scale of 1.
        first: Band of those that are added to.
        end: Behind the last one.
        rows: (step, band, batch, vector, hidden), contiguous.
        ln_scale: The scales of the rows, (step, band), float64; -inf where they are zero.
        values: (step, batch, value), contiguous.
        slopes: (slope, step, batch, hidden), contiguous.
        which: The vector and the part of every slope, (2, slope).
    """
    ready(sums.dtype)
    arrays = (one.numpy() for one in (sums, rows, ln_scale, values.flatten(0, 1), slopes, which))
    side_by_side(_bands_side_by_side, first + parts(end - first, 1), *arrays)


def add_by_sample(
    sums: Tensor, octave: Tensor, rows: Tensor, ln_scale: Tensor, values: Tensor, slopes: Tensor, which: Tensor
) -> None:
    """Add to every sample and octave the sum over steps and bands of the outer products of values and adjoints.

    Args:
        sums: (batch, value, octave, part * hidden), contiguous; receives the sums, on a scale of 1.
        octave: Of every band, (band,); none lower than that of the band before.
        rows: As for `add_by_band`, and so are the others.
        ln_scale: -inf where rows are zero, or to be left out.
        values: (step, batch, value)
        slopes: (slope, step, batch, hidden)
        which: (2, slope)
    """
    ready(sums.dtype)
    arrays = (one.numpy() for one in (sums, octave, rows, ln_scale, values, slopes, which))
    side_by_side(_samples_side_by_side, parts(len(sums), 1), *arrays)


@fast_in_parts
def _bands_side_by_side(ends, sums, rows, ln_scale, values, slopes, which):
    for part in prange(len(ends) - 1):
        _add_bands(ends[part], ends[part + 1], sums, rows, ln_scale, values, slopes, which)


@fast
def _add_bands(first, end, sums, rows, ln_scale, values, slopes, which):
    steps, batch = len(rows), rows.shape[2]
    adjoint = np.empty((steps * batch, sums.shape[2]), dtype=sums.dtype)
    for band in range(first, end):
        if ln_scale[:, band].max() == -np.inf:
            continue
        for step in range(steps):
            factor = sums.dtype.type(np.exp(ln_scale[step, band]))
            for b in range(batch):
                _make(adjoint[step * batch + b], rows[step, band, b], factor, slopes, which, step, b)
        add_product(sums[:, band], values.T, adjoint)


@fast_in_parts
def _samples_side_by_side(ends, sums, octave, rows, ln_scale, values, slopes, which):
    for part in prange(len(ends) - 1):
        _add_samples(ends[part], ends[part + 1], sums, octave, rows, ln_scale, values, slopes, which)


@fast
def _add_samples(first, end, sums, octave, rows, ln_scale, values, slopes, which):
    steps, bands = ln_scale.shape
    adjoint = np.empty((steps, sums.shape[3]), dtype=sums.dtype)
    added_up = np.empty(rows.shape[3:], dtype=sums.dtype)
    for sample in range(first, end):
        begin = 0
        while begin < bands:
            stop = begin + 1
            while stop < bands and octave[stop] == octave[begin]:
                stop += 1
            if ln_scale[:, begin:stop].max() > -np.inf:
                for step in range(steps):
                    added_up[:] = 0
                    for band in range(begin, stop):
                        _add_scaled(added_up, rows[step, band, sample], ln_scale[step, band])
                    _make(adjoint[step], added_up, sums.dtype.type(1), slopes, which, step, sample)
                add_product(sums[sample, :, octave[begin]], values[:, sample].T, adjoint)
            begin = stop


@fast
def _make(adjoint, row, factor, slopes, which, step, sample):
    """The adjoints of all parts, side by side, from the vectors of a row."""
    hidden = row.shape[1]
    adjoint[:] = 0
    for number in range(len(slopes)):
        vector, slope = row[which[0, number]], slopes[number, step, sample]
        begin = which[1, number] * hidden
        into = adjoint[begin : begin + hidden]
        for h in range(hidden):
            into[h] += vector[h] * slope[h] * factor


@fast
def _add_scaled(into, row, ln_scale):
    if ln_scale > -np.inf:
        factor = into.dtype.type(np.exp(ln_scale))
        for vector in range(len(row)):
            added, total = row[vector], into[vector]
            for h in range(len(total)):
                total[h] += added[h] * factor
