"""How the loops are compiled, and how they are handed tensors."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import config, get_num_threads, set_num_threads
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

    Args:
        rows: How many there are.
        together: Rows of which the parts consist, but for the last one.
    """
    _launch_threads()
    groups = -(-rows // together)
    count = max(1, min(torch.get_num_threads(), groups))
    return np.array([min(rows, together * (groups * part // count)) for part in range(count + 1)])


def side_by_side(function: Callable[..., Any], ends: np.ndarray, *arguments: Any) -> None:
    """Call a function compiled with SIDE_BY_SIDE, on as many of Numba's threads as there are parts.

    One that has nothing to do would have to be waited for, which takes long on a busy machine.

    Args:
        function: Of the ends of the parts, and of the other arguments.
        ends: As of `parts`.
        arguments: The others.
    """
    before = get_num_threads()
    set_num_threads(min(len(ends) - 1, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    try:
        function(ends, *arguments)
    finally:
        set_num_threads(before)


@cache
def _launch_threads() -> None:
    """Once in a process: Numba starts its threads, whereby it tells OpenMP, and so torch, to use all there are."""
    before = torch.get_num_threads()
    get_num_threads()
    torch.set_num_threads(before)


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
