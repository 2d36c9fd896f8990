"""Tiles of a matrix product, held in vector registers over the whole sum: what a product is put together from.

The vectors are written out here, because a compiler does not find in loops over numbers that a tile can stay in
registers. A tile of 8 rows and 2 vectors keeps both multipliers of a processor busy: for 16 multiplications of vectors
it reads 2 vectors and 8 numbers. Nothing is packed beforehand, as a library's product for large matrices does, so that
the few rows of a batch are multiplied as fast as many.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

_FEATURES = binding.get_host_cpu_features()
# Bytes of a vector register, and how many rows of two of them the registers hold beside what is multiplied.
REGISTER, ROWS = (64, 8) if _FEATURES.get("avx512f") else (32, 6) if _FEATURES.get("avx") else (16, 4)

_INDEX, _LANE = ir.IntType(64), ir.IntType(32)
# What a tile is told of its matrices: addresses, bytes from a row or column to the next, and how many rows of `out`, of
# `right`, and columns of both there are. The rows of `out` and of `right` are contiguous.
MATRICES = (
    "out", "out_row", "left", "left_row", "left_column", "right", "right_row", "count", "depth", "columns",
)  # fmt: skip


def tile(kind: type[np.floating[Any]], rows: int, vectors: int, whole: bool = True) -> Callable[..., None]:
    """A function for compiled code that adds one tile of left @ right to `out`.

    It takes what `MATRICES` names, and i and j, where in `out` the tile begins. Every number is summed in the order of
    the rows of `right`, whatever the tile.

    Args:
        kind: Of the numbers.
        rows: Of the tile, which must lie within `out`.
        vectors: How many vectors one of its rows has.
        whole: Whether these lie within `out` too. Otherwise what is beyond is left out.
    """
    real = ir.FloatType() if kind is np.float32 else ir.DoubleType()

    @intrinsic
    def computed(
        typing: Any, out: Any, out_row: Any, left: Any, left_row: Any, left_column: Any, right: Any, right_row: Any,
        count: Any, depth: Any, columns: Any, i: Any, j: Any,
    ) -> Any:  # fmt: skip
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _Lines(builder, real, np.dtype(kind).itemsize).tile(arguments, rows, vectors, whole)
            return context.get_dummy_value()

        return types.void(*[types.intp] * (len(MATRICES) + 2)), generate

    return computed


class _Lines:
    """Writes a tile in LLVM's language.

    Args:
        builder: Where.
        real: The type of a number.
        size: Its bytes.
    """

    def __init__(self, builder: Any, real: Any, size: int) -> None:
        self._builder, self._real, self._size = builder, real, size
        self._width = REGISTER // size
        self._vector = ir.VectorType(real, self._width)

    def tile(self, given: Sequence[Any], rows: int, vectors: int, whole: bool) -> None:
        builder = self._builder
        out, out_row, left, left_row, left_column, right, right_row, _, depth, every, i, j = given
        own = [builder.add(i, _INDEX(row)) for row in range(rows)]
        columns = [builder.add(j, _INDEX(number * self._width)) for number in range(vectors)]
        along = [builder.mul(column, _INDEX(self._size)) for column in columns]
        # By vector of a row, which of its numbers are there; None for all.
        there = [None if whole else self._within(column, every) for column in columns]
        masks = there * rows
        places = [self._place(out, (row, out_row), bytes_, self._vector) for row in own for bytes_ in along]
        nothing, before = ir.Constant(self._vector, None), builder.block
        summing, summed = builder.append_basic_block("summing"), builder.append_basic_block("summed")
        builder.cbranch(builder.icmp_signed(">", depth, _INDEX(0)), summing, summed)

        builder.position_at_end(summing)
        k = builder.phi(_INDEX)
        sums = [builder.phi(self._vector) for _ in places]
        others = [
            self._read(self._place(right, (k, right_row), bytes_, self._vector), mask)
            for bytes_, mask in zip(along, there, strict=True)
        ]
        grown: list[Any] = []
        for row in own:
            place = self._place(left, (row, left_row), builder.mul(k, left_column), self._real)
            factor = self._in_every_lane(builder.load(place, align=self._size))
            for other in others:
                grown.append(self._multiplied_and_added(factor, other, sums[len(grown)]))
        following = builder.add(k, _INDEX(1))
        at_first = (_INDEX(0), *[nothing] * len(sums))
        for phi, first, then in zip((k, *sums), at_first, (following, *grown), strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(then, summing)
        builder.cbranch(builder.icmp_signed("<", following, depth), summing, summed)

        builder.position_at_end(summed)
        totals = [builder.phi(self._vector) for _ in places]
        for total, then in zip(totals, grown, strict=True):
            total.add_incoming(nothing, before)
            total.add_incoming(then, summing)
        # Only now, so that the many numbers of a long sum are added up in parts, which keeps rounding small.
        for total, place, mask in zip(totals, places, masks, strict=True):
            self._write(builder.fadd(self._read(place, mask), total), place, mask)

    def _place(self, start: Any, row: tuple[Any, Any], along: Any, kind: Any) -> Any:
        """The address of a number or vector, from the index of its row and the bytes from a row to the next."""
        builder = self._builder
        address = builder.add(start, builder.add(builder.mul(*row), along))
        return builder.inttoptr(address, kind.as_pointer())

    def _within(self, column: Any, columns: Any) -> Any:
        """Which numbers of a vector that begins at a column are in a row of so many."""
        left = self._in_every_lane(self._builder.sub(columns, column))
        return self._builder.icmp_signed("<", ir.Constant(left.type, list(range(self._width))), left)

    def _read(self, place: Any, mask: Any) -> Any:
        """A vector; zero where it is not there."""
        if mask is None:
            return self._builder.load(place, align=self._size)
        nothing = ir.Constant(self._vector, None)
        given = [place, _LANE(self._size), mask, nothing]
        return self._called(f"masked.load.{self._name}.p0", self._vector, given)

    def _write(self, vector: Any, place: Any, mask: Any) -> None:
        if mask is None:
            self._builder.store(vector, place, align=self._size)
        else:
            given = [vector, place, _LANE(self._size), mask]
            self._called(f"masked.store.{self._name}.p0", ir.VoidType(), given)

    def _in_every_lane(self, number: Any) -> Any:
        vector = ir.VectorType(number.type, self._width)
        unset = ir.Constant(vector, ir.Undefined)
        first = self._builder.insert_element(unset, number, _LANE(0))
        return self._builder.shuffle_vector(
            first, unset, ir.Constant(ir.VectorType(_LANE, self._width), [0] * self._width)
        )

    def _multiplied_and_added(self, one: Any, other: Any, to: Any) -> Any:
        return self._called(f"fma.{self._name}", self._vector, [one, other, to])

    @property
    def _name(self) -> str:
        return f"v{self._width}{self._real.intrinsic_name}"

    def _called(self, name: str, returned: Any, arguments: Sequence[Any]) -> Any:
        """What an operation of LLVM's returns."""
        module, name = self._builder.module, f"llvm.{name}"
        kind = ir.FunctionType(returned, [argument.type for argument in arguments])
        function = module.globals.get(name) or ir.Function(module, kind, name)
        return self._builder.call(function, arguments)
