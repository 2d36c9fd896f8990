"""How the loops are compiled, and how they are handed tensors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numba import config, set_num_threads
from torch import Tensor

# Compiled code is kept on the disk. Sums may be taken in any order, which lets them run in vector registers; infinities
# and NaN keep their meaning.
FAST: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}
# Of a function that calls others side by side, in `prange`. Numba's threads are OpenMP's, as torch's are, and to call
# them takes a microsecond or two.
SIDE_BY_SIDE: dict[str, Any] = FAST | {"parallel": True}


def parts(rows: int, together: int) -> np.ndarray:
    """Where rows are split for torch's threads: the first row of every part, and the end.

    As many of Numba's threads are called by what follows: one that has nothing to do would have to be waited for.

    Args:
        rows: How many there are.
        together: Rows of which the parts consist, but for the last one.
    """
    groups = -(-rows // together)
    count = max(1, min(torch.get_num_threads(), groups))
    set_num_threads(min(count, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    return np.array([min(rows, together * (groups * part // count)) for part in range(count + 1)])


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
