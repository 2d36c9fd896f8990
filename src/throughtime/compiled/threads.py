"""The parts of a task side by side, in torch's own threads where these can be had.

After torch's own work its threads wait for more, awake, for some milliseconds. Other threads beside them would have to
share the processors with that waiting, which takes longer than the task.
"""

import ctypes
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

_CALLED = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def side_by_side(parts: Sequence[Callable[[], Any]]) -> None:
    """Call all of them, each once, and return when all have returned.

    Raises:
        BaseException: The first error that one of them raised.
    """
    if len(parts) == 1:
        parts[0]()
        return
    team = _team()
    if team is None:
        with ThreadPoolExecutor(len(parts)) as threads:
            for running in [threads.submit(part) for part in parts]:
                running.result()
        return
    numbers, errors = itertools.count(), list[BaseException]()

    def work(_: Any) -> None:
        # Every thread of the team comes here; counting hands out each number once.
        while (number := next(numbers)) < len(parts):
            try:
                parts[number]()
            except BaseException as error:
                errors.append(error)

    team(_CALLED(work), None, torch.get_num_threads(), 0)
    if errors:
        raise errors[0]


@cache
def _team() -> Any:
    """OpenMP's function that has a team of threads call another, from the library that torch uses; None without."""
    for name in ("libtorch_global_deps.so", "libtorch_global_deps.dylib"):
        library = Path(torch.__file__).parent / "lib" / name
        if library.exists():
            team = getattr(ctypes.CDLL(str(library)), "GOMP_parallel", None)
            if team is not None:
                team.argtypes = (_CALLED, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
                team.restype = None
            return team
    return None
