"""How Numba compiles: the options that all compiled code of a kernel shares."""

from collections.abc import Callable
from typing import Any

import numba

# Without Python's lock, so that shards of a batch run side by side; without a test for division by zero. Products and
# sums may be contracted, as every BLAS does; nothing is reordered, and inf and NaN mean what they mean.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


def compiled(function: Callable[..., Any]) -> Any:
    """A function compiled at its first call with new types, and kept on disk."""
    return numba.njit(cache=True, **OPTIONS)(function)


def inlined(function: Callable[..., Any], variant: str = "") -> Any:
    """A function that becomes a part of the compiled functions that call it.

    Args:
        function: What to compile.
        variant: Of functions that are made several times, which one. Numba tells those of one name apart by a count
            that starts anew in every process: read from the disk, one could be taken for another.
    """
    function.__qualname__ += variant
    return numba.njit(**OPTIONS)(function)


def compiled_in_parts(function: Callable[..., Any]) -> Any:
    """A function compiled likewise that calls others in `prange`, each in a thread of its own."""
    return numba.njit(cache=True, parallel=True, **OPTIONS)(function)
