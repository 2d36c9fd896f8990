"""How many threads a recurrence of a small network is worth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch: the matrices of one step are so small that a second thread gains little.

    On a machine that is busy otherwise it costs a lot: both wait for each other at every step, up to 50 times as long.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
