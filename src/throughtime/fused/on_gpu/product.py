"""The product at every step of a recurrence, for a block of samples and a block of columns."""

import triton
import triton.language as tl


@triton.jit
def add_product(total, left, has_left, right, has_right, depth, stride, TILE: tl.constexpr):
    """total + left @ right, the right matrix read in tiles of `TILE` rows.

    Args:
        total: (rows, columns)
        left: Where every row of the left matrix begins, (rows, 1).
        has_left: Which of them there are, (rows, 1).
        right: Where every column of the right matrix begins, (1, columns).
        has_right: Which of them there are, (1, columns).
        depth: Columns of the left matrix and rows of the right one.
        stride: From one row of the right matrix to the next.
        TILE: A power of 2, 16 or more.
    """
    for first in range(0, depth, TILE):
        across, down = first + tl.arange(0, TILE)[None, :], first + tl.arange(0, TILE)[:, None]
        some_left = tl.load(left + across, mask=has_left & (across < depth), other=0.0)
        some_right = tl.load(right + down * stride, mask=has_right & (down < depth), other=0.0)
        total = tl.dot(some_left, some_right, total, input_precision="ieee", out_dtype=total.dtype)
    return total
