"""The reach: the BPTT window that suffices."""

import numpy as np


def reach(windows: np.ndarray, error: np.ndarray, left_out: float) -> int:
    """The smallest window K, in steps, from which on the gradient truncated to it stays close to the full one.

    Where the error is not known, or no window is close enough, the largest: the reach is at least that.

    Args:
        windows: In increasing order.
        error: Relative error of the gradient truncated to each.
        left_out: The largest error that counts as close.
    """
    too_large = np.flatnonzero(~(error <= left_out))
    first = too_large[-1] + 1 if len(too_large) else 0
    return int(windows[min(first, len(windows) - 1)])
