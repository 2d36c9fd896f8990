"""A cell's kernel on the CPU, compiled by Numba, and run with the batch split over threads for the whole sequence."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numba
import torch
from rich.console import Console
from torch import Tensor

from throughtime.cells import Cell
from throughtime.compiled import fast, product, tile
from throughtime.compiled.fast import parts, side_by_side
from throughtime.compiled.product import FEWER, matrix_product
from throughtime.fused import compiling, elementary
from throughtime.fused.generated import generated
from throughtime.fused.source import Source

log = logging.getLogger(__name__)

# Just below the 32 MiB from which the C library never keeps a block.
HELD = 31 * 2**20
PRECISIONS = {torch.float32: "SINGLE", torch.float64: "DOUBLE"}


class Kernel:
    """What runs a cell over a whole sequence.

    Args:
        cell: The equations.
        dtype: torch.float32 or torch.float64.

    Attributes:
        computation: What it computes.

    Raises:
        NotFused: The equations hold what no kernel computes.
    """

    def __init__(self, cell: Cell, dtype: torch.dtype) -> None:
        source = source_of(cell)
        self.computation = source.computation
        self._what = f"{cell!r} in {str(dtype).removeprefix('torch.')}"
        self._module = generated(source.text(PRECISIONS[dtype]), compiling, elementary, fast, product, tile)

    def run(self, way: str, given: Mapping[str, Any]) -> None:
        """One way, "forward" or "backward", on what is given by name.

        The batch is in as many parts as torch has threads, but none of fewer rows than work together.
        """
        _hold_on_to_freed_memory()
        names = getattr(self.computation, f"{way}_arguments")
        arguments = [parts(given["x"].shape[1], FEWER), *(_array(given[name]) for name in names)]
        side_by_side(self.compiled(way, arguments), *arguments)

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """Of two matrices, after the loop."""
        return matrix_product(left, right)

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


@cache
def _hold_on_to_freed_memory() -> None:
    """Once in a process: have the C library keep what is freed, up to 64 MB, instead of giving it back at once.

    Linux's does so for twice the largest block that was freed before, below 32 MB. Otherwise every call would get its
    memory anew from the system, page by page, which takes as long as the kernel itself.
    """
    torch.empty(HELD, dtype=torch.uint8, device="cpu")


def _array(value: Any) -> Any:
    return value.detach().contiguous().numpy() if isinstance(value, Tensor) else value
