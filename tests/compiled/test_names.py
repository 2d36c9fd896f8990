"""What is compiled is found by name when it is read from the disk."""

import gc
import importlib
import pkgutil
from collections import Counter

from numba.core.registry import CPUDispatcher

import throughtime.compiled
import throughtime.fused


def test_no_two_compiled_functions_share_a_name():
    """Numba would tell them apart by a count that starts anew in every process, and take one for the other."""
    for room in (throughtime.compiled, throughtime.fused):
        for file in pkgutil.iter_modules(room.__path__, room.__name__ + "."):
            importlib.import_module(file.name)
    functions = [one.py_func for one in gc.get_objects() if type(one) is CPUDispatcher]
    names = Counter((of.__module__, of.__qualname__) for of in functions if of.__module__.startswith("throughtime"))
    assert names
    assert [name for name, count in names.items() if count > 1] == []
