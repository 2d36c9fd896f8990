"""How the loops are compiled, and how they are handed tensors."""

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numba import config, get_num_threads, njit, set_num_threads, threading_layer
from torch import Tensor

# Compiled code is kept on the disk. Sums may be taken in any order, which lets them run in vector registers; infinities
# and NaN keep their meaning.
FAST: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}
# Numba looks for changes in the file of a function, not in those of what it calls: of these, its name tells.
_ROOM = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()


def fast(function: Callable[..., Any]) -> Any:
    """A function, compiled when it is called first."""
    return njit(**FAST)(kept(function))


def fast_in_parts(function: Callable[..., Any]) -> Any:
    """A function that calls others side by side, in `prange`; see `side_by_side`.

    Numba's threads are OpenMP's, as torch's are, and to call them takes a microsecond or two.
    """
    return njit(**FAST, parallel=True)(kept(function))


def kept(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function under a name by which what was compiled of it is found on the disk, unless this room has changed."""
    function.__qualname__ += f"_{_ROOM[:12]}"
    return function


@dataclass
class _Threads:
    """Numba's threads in this process.

    Args:
        launched: Whether there are any.
        lost: Whether they were launched before this process was forked off. OpenMP then ends it where they are called.
        turns: What keeps calls of several of Python's threads apart, which Numba's own pool, taken where there is no
            OpenMP, does not bear.
    """

    launched: bool = False
    lost: bool = False
    turns: contextlib.AbstractContextManager[Any] = field(default_factory=contextlib.nullcontext)

    def launch(self) -> None:
        """Once in a process: Numba starts its threads, whereby it tells OpenMP, and so torch, to use all there are."""
        if self.launched:
            return
        before = torch.get_num_threads()
        get_num_threads()
        torch.set_num_threads(before)
        self.launched = True
        if threading_layer() == "workqueue":
            self.turns = threading.Lock()

    def forked(self) -> None:
        """In a process that has been forked off."""
        self.lost = self.launched


_THREADS = _Threads()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_THREADS.forked)


def parts(rows: int, together: int) -> np.ndarray:
    """Where rows are split for torch's threads: the first row of every part, and the end.

    Args:
        rows: How many there are.
        together: Rows of which the parts consist, but for the last one.
    """
    _THREADS.launch()
    return _split(rows, together, 1 if _THREADS.lost else torch.get_num_threads())


@lru_cache(maxsize=2**12)
def _split(rows: int, together: int, threads: int) -> np.ndarray:
    # Kept, since as many rows are split again and again; nobody writes to it.
    groups = -(-rows // together)
    count = max(1, min(threads, groups))
    return np.array([min(rows, together * (groups * part // count)) for part in range(count + 1)])


def side_by_side(function: Callable[..., Any], ends: np.ndarray, *arguments: Any) -> None:
    """Call a function compiled `fast_in_parts`, on as many of Numba's threads as there are parts.

    One that has nothing to do would have to be waited for, which takes long on a busy machine.

    Args:
        function: Of the ends of the parts, and of the other arguments.
        ends: As of `parts`.
        arguments: The others.
    """
    if _THREADS.lost:
        _alone(function)(ends, *arguments)
        return
    with _THREADS.turns:
        before, wanted = get_num_threads(), min(len(ends) - 1, config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        if wanted == before:
            function(ends, *arguments)
            return
        set_num_threads(wanted)
        try:
            function(ends, *arguments)
        finally:
            set_num_threads(before)


@cache
def _alone(function: Any) -> Callable[..., Any]:
    """The same compiled without threads; not kept on disk, where it could be taken for the one with them."""
    options = {name: value for name, value in function.targetoptions.items() if name in FAST}
    return njit(**options)(function.py_func)


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
