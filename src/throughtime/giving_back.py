"""What is freed, given back to the system at once, so that a process holds no more than it uses."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Of mallopt(3), the man page of the GNU C library.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
# Bytes: a block of so many is the system's own, and is gone when it is freed.
OWN_BLOCK = 2**20
# Where the library arrives on its own in a process that frees large blocks: from here on no block is kept.
LARGEST_KEPT = 2**25


@contextmanager
def giving_back(wanted: bool) -> Iterator[None]:
    """Inside, where it is wanted, large blocks are not kept for what is made next, which they often do not fit.

    It takes time, since the system hands out every block anew. Only the GNU C library can be asked; elsewhere nothing
    changes.
    """
    ask = _mallopt() if wanted else None
    if ask is None:
        yield
        return
    ask(MMAP_THRESHOLD, OWN_BLOCK)
    ask(TRIM_THRESHOLD, OWN_BLOCK)
    try:
        yield
    finally:
        ask(MMAP_THRESHOLD, LARGEST_KEPT)
        ask(TRIM_THRESHOLD, 2 * LARGEST_KEPT)


def _mallopt() -> "ctypes._NamedFuncPointer | None":
    return getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
