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
from throughtime.compiled import fast, product, sequences, tile
from throughtime.compiled.fast import parts, side_by_side
from throughtime.compiled.product import FEWER
from throughtime.fused import compiling, elementary
from throughtime.fused.generated import generated
from throughtime.fused.source import Source

log = logging.getLogger(__name__)

# Just below the 32 MiB from which the C library never keeps a block.
HELD = 31 * 2**20
NONE = torch.empty(0)
PRECISIONS = {torch.float32: "SINGLE", torch.float64: "DOUBLE"}


class Kernel:
    """What runs a cell over a whole sequence.

    Args:
        cell: The equations.
        dtype: torch.float32 or torch.float64.

    Attributes:
        computation: What it computes.
        apart: The gates whose W_ih x_t + b_ih the way back needs by itself.

    Raises:
        NotFused: The equations hold what no kernel computes.
    """

    def __init__(self, cell: Cell, dtype: torch.dtype) -> None:
        self._source = source_of(cell)
        self.computation, self.apart = self._source.computation, self._source.apart
        self._what = f"{cell!r} in {str(dtype).removeprefix('torch.')}"
        product.ready(dtype)
        called = (compiling, elementary, fast, product, sequences, tile)
        self._module = generated(self._source.text(PRECISIONS[dtype]), *called)

    def forward(self, given: Mapping[str, Any]) -> None:
        """Run the batch in as many parts as torch has threads, but none of fewer rows than work together."""
        turned = {name: given[name].t() for name in ("weight_ih", "weight_hh") if given.get(name, NONE).dim() == 2}
        self._run("forward", self._source.forward_arguments, {**given, **turned})

    def backward(self, given: Mapping[str, Any], of_sequence: bool) -> dict[str, Tensor]:
        """Likewise the way back; the gradients of the parts, or samples, are added up."""
        sequence, batch = given["sequence"], given["sequence"].shape[1]
        count = len(_ends(batch)) - 1
        # Contiguous, as all that a kernel writes to: of anything else it would be handed a copy.
        grads = {"grad_sequence": sequence.new_empty(sequence.shape if of_sequence else (0, *sequence.shape[1:]))}
        for name in (name for name in self._source.backward_arguments if name.startswith(("grad_weight", "grad_bias"))):
            shape = given[name.removeprefix("grad_")].shape
            grads[name] = sequence.new_zeros(count if name in self._source.by_part else batch, *shape)
        self._run("backward", self._source.backward_arguments, {**given, **grads})
        found = {name.removeprefix("grad_"): value.sum(0) for name, value in grads.items() if name != "grad_sequence"}
        return found | {"sequence": grads["grad_sequence"]}

    def _run(self, way: str, names: Sequence[str], given: Mapping[str, Any]) -> None:
        batch = given["sequence"].shape[1]
        if not batch:
            return
        _hold_on_to_freed_memory()
        arguments = [_ends(batch), *(_array(given[name]) for name in names)]
        side_by_side(self.compiled(way, arguments), *arguments)

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


def _ends(batch: int) -> Any:
    return parts(batch, FEWER)


def _array(value: Any) -> Any:
    return value.contiguous().numpy(force=True) if isinstance(value, Tensor) else value
