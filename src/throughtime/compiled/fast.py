"""How the loops are compiled, and how they are handed tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

# Compiled code is kept on the disk. Sums may be taken in any order, which lets them run in vector registers; infinities
# and NaN keep their meaning.
FAST: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}


def in_line(tensors: Sequence[Tensor]) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """The memory of tensors (row, batch, hidden), each in one line, and where in it a row and a sample of it begin.

    Loops over arrays whose layout is only known when they run would not use vector registers; in a line, the numbers of
    every row lie side by side.

    Returns:
        For every tensor its numbers; and by tensor how far apart they lie of two rows and of two samples.
    """
    laid_out = [tensor if tensor.stride(-1) == 1 else tensor.contiguous() for tensor in tensors]
    lines = tuple(tensor.as_strided((_span(tensor),), (1,)).numpy() for tensor in laid_out)
    return lines, np.array([tensor.stride()[:2] for tensor in laid_out])


def _span(tensor: Tensor) -> int:
    """From the first to the last number in memory."""
    if tensor.numel() == 0:
        return 0
    return 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
