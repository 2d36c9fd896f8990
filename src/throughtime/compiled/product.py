"""A matrix product for compiled code, as fast for the few rows of a batch as for many.

A library's product is made for large matrices: it packs them anew at every call, which does not pay where one of them
is met again and again. On some processors it does not use the longest vectors there are, either.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from llvmlite import binding, ir
from numba import cfunc, njit, types
from numba.extending import intrinsic

from throughtime.compiled.fast import FAST, fast, kept
from throughtime.compiled.tile import MATRICES, REGISTER, ROWS, tile

# Of the rows that there are, as many as possible are taken ROWS at a time, then FEWER, then one.
FEWER = 4


_SIGNATURE = types.void(*[types.intp] * len(MATRICES))


def _strip(kind: type[np.floating[Any]], vectors: int, whole: bool) -> Callable[..., None]:
    """A function that adds to all rows of a product, and to some neighbouring columns."""
    many, fewer, one = (tile(kind, rows, vectors, whole) for rows in (ROWS, FEWER, 1))

    def strip(out, out_row, left, left_row, left_column, right, right_row, count, depth, columns, j):
        i = 0
        while i + ROWS <= count:
            many(out, out_row, left, left_row, left_column, right, right_row, count, depth, columns, i, j)
            i += ROWS
        while i + FEWER <= count:
            fewer(out, out_row, left, left_row, left_column, right, right_row, count, depth, columns, i, j)
            i += FEWER
        while i < count:
            one(out, out_row, left, left_row, left_column, right, right_row, count, depth, columns, i, j)
            i += 1

    return _named(strip, f"strip_of_{vectors}_{'whole' if whole else 'cut'}", kind)


def _strips(kind: type[np.floating[Any]]) -> Callable[..., None]:
    """A function that adds to all of a product."""
    two, last, lanes = _strip(kind, 2, True), _strip(kind, 1, False), REGISTER // np.dtype(kind).itemsize

    def strips(out, out_row, left, left_row, left_column, right, right_row, count, depth, columns):
        j = 0
        while j + 2 * lanes <= columns:
            two(out, out_row, left, left_row, left_column, right, right_row, count, depth, columns, j)
            j += 2 * lanes
        while j < columns:
            last(out, out_row, left, left_row, left_column, right, right_row, count, depth, columns, j)
            j += lanes

    return _named(strips, "strips", kind)


def _named(function: Callable[..., None], name: str, kind: type[np.floating[Any]]) -> Any:
    # Numba tells functions of one name apart by a count that starts anew in every process: read from the disk, one
    # could be taken for another.
    function.__qualname__ = f"{name}_{kind.__name__}"
    return njit(**FAST | {"cache": False})(function)


_strips_float32, _strips_float64 = _strips(np.float32), _strips(np.float64)


def _add_float32(out, out_row, left, left_row, left_column, right, right_row, count, depth, columns):
    _strips_float32(out, out_row, left, left_row, left_column, right, right_row, count, depth, columns)


def _add_float64(out, out_row, left, left_row, left_column, right, right_row, count, depth, columns):
    _strips_float64(out, out_row, left, left_row, left_column, right, right_row, count, depth, columns)


_ADDING = {torch.float32: _add_float32, torch.float64: _add_float64}


@cache
def ready(dtype: torch.dtype) -> None:
    """Once in a process, before anything runs that multiplies: compile the product, or read it from disk.

    Compiled code finds it by name. Were it a part of all that calls it, each would take seconds to compile.
    """
    options = {name: FAST[name] for name in ("cache", "error_model", "fastmath")}
    function = _ADDING[dtype]
    binding.add_symbol(f"throughtime{function.__name__}", cfunc(_SIGNATURE, **options)(kept(function)).address)


@intrinsic
def _add_by_name(typing: Any, out: Any, left: Any, right: Any) -> Any:
    if {out.dtype, left.dtype, right.dtype} not in ({types.float32}, {types.float64}):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = [
            context.make_array(kind)(context, builder, array)
            for kind, array in zip(signature.args, arguments, strict=True)
        ]
        (o, o_rows), (le, _), (r, r_rows) = ((one, one.shape) for one in arrays)
        index, pick = context.get_value_type(types.intp), builder.extract_value
        given = [
            *(builder.ptrtoint(o.data, index), pick(o.strides, 0)),
            *(builder.ptrtoint(le.data, index), pick(le.strides, 0), pick(le.strides, 1)),
            *(builder.ptrtoint(r.data, index), pick(r.strides, 0)),
            *(pick(o_rows, 0), pick(r_rows, 0), pick(o_rows, 1)),
        ]
        name, module = f"throughtime_add_{out.dtype}", builder.module
        kind = ir.FunctionType(ir.VoidType(), [index] * len(MATRICES))
        builder.call(module.globals.get(name) or ir.Function(module, kind, name), given)
        return context.get_dummy_value()

    return types.void(out, left, right), generate


@fast
def add_product(out: Any, left: Any, right: Any) -> None:
    """out += left @ right.

    A row is summed up in the same order however many there are, so that splitting them changes no digit. Whoever calls
    compiled code that calls this calls `ready` before.

    Args:
        out: (rows, n), of float32 or float64, as the others.
        left: (rows, m)
        right: (m, n); its rows are contiguous, like those of `out`.
    """
    _add_by_name(out, left, right)  # type: ignore[call-arg]
