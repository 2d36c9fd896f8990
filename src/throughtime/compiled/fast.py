"""How the loops are compiled."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

# Compiled code is kept on the disk. Sums may be taken in any order, which lets them run in vector registers; infinities
# and NaN keep their meaning. One thread: the loops take a few microseconds a row, and what surrounds them is threaded.
FAST: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
}


def arrays(tensors: Sequence[Tensor]) -> tuple[np.ndarray, ...]:
    """Tensors as the loops take them side by side: all of one layout in memory, copied where they are not."""
    found = tuple(tensor.numpy() for tensor in tensors)
    contiguous = [array.flags.c_contiguous for array in found]
    return tuple(map(np.ascontiguousarray, found)) if any(contiguous) and not all(contiguous) else found
