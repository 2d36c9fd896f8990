"""What is compiled is found by name when it is read from the disk."""

import gc
import hashlib
import importlib
import pkgutil
from collections import Counter
from pathlib import Path

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


def test_what_is_kept_on_disk_is_taken_for_nothing_else_once_a_file_of_the_room_has_changed():
    """Numba would take it for as long as the function's own file is the same, whatever has become of what it calls."""
    room = Path(throughtime.compiled.__file__).parent
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sorted(room.glob("*.py")))).hexdigest()
    functions = [one for one in gc.get_objects() if type(one) is CPUDispatcher]
    in_room = [one for one in functions if one.py_func.__module__.startswith("throughtime.compiled")]
    kept = [one.py_func.__qualname__ for one in in_room if one.targetoptions and one.stats.cache_path is not None]
    assert kept
    assert [name for name in kept if not name.endswith(digest[:12])] == []
