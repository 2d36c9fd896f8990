"""A matrix product for compiled code, as fast for the few rows of a batch as for many.

A library's product is made for large matrices: it packs them anew at every call, which does not pay where one of them
is met again and again. On some processors it does not use the longest vectors there are, either.
"""

from collections.abc import Callable
from typing import Any

from numba import njit, prange
from torch import Tensor

from throughtime.compiled.fast import FAST, SIDE_BY_SIDE, parts, side_by_side
from throughtime.compiled.tile import REGISTER, ROWS, tile

# Of the rows that there are, as many as possible are taken ROWS at a time, then FEWER, then one.
FEWER = 4
# Rows of the matrices of a large product that are taken at a time: what is read over and over again stays in a cache.
BLOCK = 256


def _strip(vectors: int, part: int = 1) -> Callable[..., None]:
    """A function that adds to all rows of a product, and to some neighbouring columns."""
    many, fewer, one = tile(ROWS, vectors, part), tile(FEWER, vectors, part), tile(1, vectors, part)

    def strip(out, left, right, j):
        i = 0
        while i + ROWS <= len(out):
            many(out, left, right, i, j)
            i += ROWS
        while i + FEWER <= len(out):
            fewer(out, left, right, i, j)
            i += FEWER
        while i < len(out):
            one(out, left, right, i, j)
            i += 1

    # Numba tells functions of one name apart by a count that starts anew in every process: read from the disk, one
    # could be taken for another.
    strip.__qualname__ = f"strip_of_{vectors}_in_{part}"
    return njit(**FAST | {"cache": False})(strip)


_two, _one, _half, _quarter, _eighth, _sixteenth = _strip(2), *(_strip(1, part) for part in (1, 2, 4, 8, 16))


@njit(**FAST)
def add_product(out: Any, left: Any, right: Any) -> None:
    """out += left @ right.

    A row is summed up in the same order however many there are, so that splitting them changes no digit.

    Args:
        out: (rows, n)
        left: (rows, m)
        right: (m, n); its rows are contiguous, like those of `out`.
    """
    lanes = REGISTER // out.itemsize
    columns, j = out.shape[1], 0
    while j + 2 * lanes <= columns:
        _two(out, left, right, j)
        j += 2 * lanes
    # The columns that are left are their number in binary digits.
    if (columns - j) & lanes:
        _one(out, left, right, j)
        j += lanes
    if (columns - j) & (lanes // 2):
        _half(out, left, right, j)
        j += lanes // 2
    if (columns - j) & (lanes // 4):
        _quarter(out, left, right, j)
        j += lanes // 4
    if (columns - j) & (lanes // 8):
        _eighth(out, left, right, j)
        j += lanes // 8
    if (columns - j) & (lanes // 16):
        _sixteenth(out, left, right, j)


def matrix_product(left: Tensor, right: Tensor, onto: Tensor | None = None) -> Tensor:
    """left @ right, on all of torch's threads.

    Args:
        left: (rows, m), laid out in any way.
        right: (m, n)
        onto: (n,), to which every row is added; None for zeros.
    """
    out = left.new_empty(len(left), right.shape[1])
    _add(out, left, right, left.new_zeros(right.shape[1]) if onto is None else onto.contiguous())
    return out


def add_matrix_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """out += left @ right, on all of torch's threads.

    Args:
        out: (rows, n); its rows are contiguous.
        left: (rows, m), laid out in any way.
        right: (m, n)
    """
    _add(out, left, right, out.new_empty(0))


def _add(out: Tensor, left: Tensor, right: Tensor, begun: Tensor) -> None:
    arrays = (one.detach().numpy() for one in (out, left, right.contiguous(), begun))
    side_by_side(_add_side_by_side, parts(len(left), ROWS), *arrays)


@njit(**SIDE_BY_SIDE)
def _add_side_by_side(ends, out, left, right, begun):
    for part in prange(len(ends) - 1):
        _add_blocks(ends[part], ends[part + 1], out, left, right, begun)


@njit(**FAST)
def _add_blocks(first, end, out, left, right, begun):
    """Some rows of a large product, in blocks that stay in the caches; each begins with a row, if there is one."""
    for k in range(0, max(1, len(right)), BLOCK):
        for i in range(first, end, BLOCK):
            rows = slice(i, min(end, i + BLOCK))
            if k == 0 and len(begun):
                out[rows] = begun
            add_product(out[rows], left[rows, k : k + BLOCK], right[k : k + BLOCK])
