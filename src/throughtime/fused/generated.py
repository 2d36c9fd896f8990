"""Generated source as a module, from a file of its own: what a compiler makes of it is kept on disk beside it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from numba.misc.appdirs import AppDirs


def generated(text: str, *called: ModuleType) -> ModuleType:
    """A text as a module, from a file that bears a digest of it and of the modules that it calls in its name."""
    texts = (text, *(Path(str(module.__file__)).read_text(encoding="utf-8") for module in called))
    name = "kernel_" + hashlib.sha256("".join(texts).encode()).hexdigest()[:24]
    specification = importlib.util.spec_from_file_location(name, _file(name, text))
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


def _file(name: str, text: str) -> Path:
    """The file, written where it is not there yet: whole, whoever else writes it."""
    folder = _folder()
    path = folder / f"{name}.py"
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False, encoding="utf-8") as written:
            written.write(text)
        os.replace(written.name, path)
    return path


@cache
def _folder() -> Path:
    """The cache of kernels: `NUMBA_CACHE_DIR`, or the user's; where neither can be written to, one for this process."""
    chosen = os.environ.get("NUMBA_CACHE_DIR") or AppDirs("throughtime", appauthor=False).user_cache_dir
    folder = Path(chosen) / "throughtime-kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return Path(tempfile.mkdtemp(prefix="throughtime-kernels-"))
