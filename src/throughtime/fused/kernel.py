"""A cell's kernel, compiled: its source in a file of its own, so that what is compiled is kept on disk beside it."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
import torch
from numba.misc.appdirs import AppDirs
from rich.console import Console

from throughtime.cells import Cell
from throughtime.compiled import fast, product, tile
from throughtime.fused import compiling, elementary
from throughtime.fused.source import Source

log = logging.getLogger(__name__)

PRECISIONS = {torch.float32: "SINGLE", torch.float64: "DOUBLE"}


class Kernel:
    """What runs a cell over a whole sequence.

    Args:
        cell: The equations.
        dtype: torch.float32 or torch.float64.

    Attributes:
        source: What it was generated from.

    Raises:
        NotFused: The equations hold what no kernel computes.
    """

    def __init__(self, cell: Cell, dtype: torch.dtype) -> None:
        self.source = source_of(cell)
        self._what = f"{cell!r} in {str(dtype).removeprefix('torch.')}"
        self._module = _module(self.source.text(PRECISIONS[dtype]))

    def function(self, way: str) -> Any:
        """The function of one way, "forward" or "backward", whether it is compiled already or not."""
        return getattr(self._module, way)

    def compiled(self, way: str, arguments: Sequence[Any]) -> Any:
        """The function of one way, compiled for such arguments if it is not yet.

        That takes seconds, of which a terminal is told, and the log of this module; other processes read it from disk.
        """
        function = self.function(way)
        if not function.signatures:
            start = time.perf_counter()
            on_disk = any(Path(function.stats.cache_path).glob(f"{self._module.__name__}.{way}-*.nbi"))
            console = Console(stderr=True)
            if console.is_terminal and not on_disk:
                console.print(f"Compiling {self._what}, {way}: a few seconds, once on this machine", style="dim")
            function.compile(tuple(numba.typeof(argument) for argument in arguments))
            how = "read from disk" if function.stats.cache_hits else "compiled"
            log.info("%s, %s: %s in %.1f s", self._what, way, how, time.perf_counter() - start)
        return function


@cache
def kernel(cell: Cell, dtype: torch.dtype) -> Kernel:
    """The kernel of a cell, made once for all equal cells."""
    return Kernel(cell, dtype)


@cache
def source_of(cell: Cell) -> Source:
    """What a cell's kernel is generated from, made once for all equal cells."""
    return Source(cell)


def _module(text: str) -> ModuleType:
    """The text as a module, from a file that bears a digest of it and of what it calls in its name."""
    called = (
        Path(str(module.__file__)).read_text(encoding="utf-8")
        for module in (compiling, elementary, fast, product, tile)
    )
    name = "kernel_" + hashlib.sha256("".join((text, *called)).encode()).hexdigest()[:24]
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
