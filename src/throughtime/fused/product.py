"""A few rows times a matrix, added to what is there: the product at every step of a recurrence.

A library's matrix product is made for large matrices, and packs the second one anew at every call. Here the rows are
few and the matrix is the same at every step, so that it pays to pass over it as it lies: four of its rows at a time
with four of the other's, in loops that the compiler turns into vector instructions.
"""

from typing import Any

from throughtime.fused.compiling import compiled

# Of the left matrix that are worked on together.
ROWS = 4


@compiled
def add_product(out: Any, left: Any, right: Any) -> None:
    """out += left @ right.

    A row is added up in the same order however many there are, so that splitting them changes no digit.

    Args:
        out: (rows, n), contiguous like the others.
        left: (rows, m)
        right: (m, n)
    """
    together = len(out) // ROWS * ROWS
    for row in range(0, together, ROWS):
        _four_rows(out[row : row + ROWS], left[row : row + ROWS], right)
    for row in range(together, len(out)):
        _one_row(out[row], left[row], right)


@compiled
def _four_rows(out: Any, left: Any, right: Any) -> None:
    out_0, out_1, out_2, out_3 = out[0], out[1], out[2], out[3]
    together = len(right) // 4 * 4
    for k in range(0, together, 4):
        right_0, right_1, right_2, right_3 = right[k], right[k + 1], right[k + 2], right[k + 3]
        left_00, left_01, left_02, left_03 = left[0, k], left[0, k + 1], left[0, k + 2], left[0, k + 3]
        left_10, left_11, left_12, left_13 = left[1, k], left[1, k + 1], left[1, k + 2], left[1, k + 3]
        left_20, left_21, left_22, left_23 = left[2, k], left[2, k + 1], left[2, k + 2], left[2, k + 3]
        left_30, left_31, left_32, left_33 = left[3, k], left[3, k + 1], left[3, k + 2], left[3, k + 3]
        for j in range(len(out_0)):
            a, b, c, d = right_0[j], right_1[j], right_2[j], right_3[j]
            out_0[j] = out_0[j] + left_00 * a + left_01 * b + left_02 * c + left_03 * d
            out_1[j] = out_1[j] + left_10 * a + left_11 * b + left_12 * c + left_13 * d
            out_2[j] = out_2[j] + left_20 * a + left_21 * b + left_22 * c + left_23 * d
            out_3[j] = out_3[j] + left_30 * a + left_31 * b + left_32 * c + left_33 * d
    for k in range(together, len(right)):
        last = right[k]
        for j in range(len(out_0)):
            out_0[j] = out_0[j] + left[0, k] * last[j]
            out_1[j] = out_1[j] + left[1, k] * last[j]
            out_2[j] = out_2[j] + left[2, k] * last[j]
            out_3[j] = out_3[j] + left[3, k] * last[j]


@compiled
def _one_row(out: Any, left: Any, right: Any) -> None:
    together = len(right) // 4 * 4
    for k in range(0, together, 4):
        right_0, right_1, right_2, right_3 = right[k], right[k + 1], right[k + 2], right[k + 3]
        left_0, left_1, left_2, left_3 = left[k], left[k + 1], left[k + 2], left[k + 3]
        for j in range(len(out)):
            out[j] = out[j] + left_0 * right_0[j] + left_1 * right_1[j] + left_2 * right_2[j] + left_3 * right_3[j]
    for k in range(together, len(right)):
        last = right[k]
        for j in range(len(out)):
            out[j] = out[j] + left[k] * last[j]
