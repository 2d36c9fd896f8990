"""Tiles of a matrix product, held in vector registers over the whole sum: what a product is put together from.

The vectors are written out here, because a compiler does not find in loops over numbers that a tile can stay in
registers. A tile of 8 rows and 2 vectors keeps both multipliers of a processor busy: for 16 multiplications of vectors
it reads 2 vectors and 8 numbers. Nothing is packed beforehand, as a library's product for large matrices does, so that
the few rows of a batch are multiplied as fast as many.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

_FEATURES = binding.get_host_cpu_features()
# Bytes of a vector register, and how many rows of two of them the registers hold beside what is multiplied.
REGISTER, ROWS = (64, 8) if _FEATURES.get("avx512f") else (32, 6) if _FEATURES.get("avx") else (16, 4)

_INDEX, _LANE, _BYTES = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()


def tile(rows: int, vectors: int, part: int = 1) -> Callable[..., None]:
    """A function for compiled code that adds one tile of left @ right to `out`.

    It takes (out, left, right, i, j): arrays of two dimensions, of one type, and where in `out` the tile begins, within
    which it must lie. The rows of `out` and of `right` are contiguous. Every number is summed in the order of the rows
    of `right`, whatever the tile.

    Args:
        rows: Of the tile.
        vectors: How many vectors one of its rows has.
        part: The vectors are this part of a register: 2 for a half of it.
    """

    @intrinsic
    def computed(typing: Any, out: Any, left: Any, right: Any, i: Any, j: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = [
                context.make_array(kind)(context, builder, array)
                for kind, array in zip(signature.args[:3], arguments[:3], strict=True)
            ]
            lines = _Lines(builder, context.get_value_type(out.dtype), out.dtype.bitwidth // 8, part)
            lines.tile(arrays, arguments[3:], rows, vectors)
            return context.get_dummy_value()

        return types.void(out, left, right, types.intp, types.intp), generate

    return computed


def lanes(size: int, part: int = 1) -> int:
    """How many numbers of a size in bytes a vector has, one at least."""
    return max(1, REGISTER // size // part)


class _Lines:
    """Writes a tile in LLVM's language.

    Args:
        builder: Where.
        real: The type of a number.
        size: Its bytes.
        part: Of a register, that a vector takes.
    """

    def __init__(self, builder: Any, real: Any, size: int, part: int) -> None:
        self._builder, self._real, self._size = builder, real, size
        self._width = lanes(size, part)
        self._vector = ir.VectorType(real, self._width)

    def tile(self, matrices: Sequence[Any], begin: Sequence[Any], rows: int, vectors: int) -> None:
        builder, (out, left, right), (i, j) = self._builder, matrices, begin
        own = [builder.add(i, _INDEX(row)) for row in range(rows)]
        columns = [builder.add(j, _INDEX(number * self._width)) for number in range(vectors)]
        places = [self._place(out, row, column, self._vector) for row in own for column in columns]
        begun = [builder.load(place, align=self._size) for place in places]
        depth, before = builder.extract_value(left.shape, 1), builder.block
        summing, summed = builder.append_basic_block("summing"), builder.append_basic_block("summed")
        builder.cbranch(builder.icmp_signed(">", depth, _INDEX(0)), summing, summed)

        builder.position_at_end(summing)
        k = builder.phi(_INDEX)
        sums = [builder.phi(self._vector) for _ in places]
        others = [self._load(right, k, column, self._vector) for column in columns]
        grown: list[Any] = []
        for row in own:
            factor = self._in_every_lane(self._load(left, row, k, self._real))
            for other in others:
                grown.append(self._multiplied_and_added(factor, other, sums[len(grown)]))
        following = builder.add(k, _INDEX(1))
        for phi, at_first, then in zip((k, *sums), (_INDEX(0), *begun), (following, *grown), strict=True):
            phi.add_incoming(at_first, before)
            phi.add_incoming(then, summing)
        builder.cbranch(builder.icmp_signed("<", following, depth), summing, summed)

        builder.position_at_end(summed)
        totals = [builder.phi(self._vector) for _ in places]
        for total, at_first, then in zip(totals, begun, grown, strict=True):
            total.add_incoming(at_first, before)
            total.add_incoming(then, summing)
        for total, place in zip(totals, places, strict=True):
            builder.store(total, place, align=self._size)

    def _place(self, array: Any, row: Any, column: Any, kind: Any) -> Any:
        """The address of a number or vector."""
        builder = self._builder
        by_row, by_column = (builder.extract_value(array.strides, axis) for axis in (0, 1))
        offset = builder.add(builder.mul(row, by_row), builder.mul(column, by_column))
        return builder.bitcast(builder.gep(builder.bitcast(array.data, _BYTES), [offset]), kind.as_pointer())

    def _load(self, array: Any, row: Any, column: Any, kind: Any) -> Any:
        return self._builder.load(self._place(array, row, column, kind), align=self._size)

    def _in_every_lane(self, number: Any) -> Any:
        unset = ir.Constant(self._vector, ir.Undefined)
        first = self._builder.insert_element(unset, number, _LANE(0))
        return self._builder.shuffle_vector(
            first, unset, ir.Constant(ir.VectorType(_LANE, self._width), [0] * self._width)
        )

    def _multiplied_and_added(self, one: Any, other: Any, to: Any) -> Any:
        module = self._builder.module
        name = f"llvm.fma.v{self._width}{self._real.intrinsic_name}"
        fused = module.globals.get(name) or ir.Function(module, ir.FunctionType(self._vector, [self._vector] * 3), name)
        return self._builder.call(fused, [one, other, to])
