"""A cell's kernel in Triton, launched. Triton compiles it at its first call, and keeps what it has compiled on disk."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from throughtime.cells import Cell
from throughtime.fused.generated import generated
from throughtime.fused.on_gpu.source import CONSTANTS, Source

# Units that a program works on at once: as few as a product of blocks takes, and as many as fit beside W_hh's part.
FEWEST_UNITS, MOST_UNITS = 16, 64
# Samples of a program: as few as a product of blocks takes, or one.
SAMPLES = 16
# The first version that multiplies blocks of float64.
OLDEST = (3, 5)
# How Triton compiles: loads of the next step do not begin before this one has ended; products and sums may be
# contracted, as every BLAS does.
OPTIONS: dict[str, Any] = {"num_warps": 4, "num_stages": 1, "enable_fp_fusion": True}


@cache
def missing() -> str | None:
    """What kernels on a GPU are in and is not installed, and what to do about it; None where it is."""
    if importlib.util.find_spec("triton") is not None:
        version = importlib.import_module("triton").__version__
        if tuple(int(number) for number in version.split(".")[:2]) >= OLDEST:
            return None
    return f"Triton {'.'.join(map(str, OLDEST))} or newer (pip install 'throughtime[triton]')"


class Kernel:
    """What runs a cell over a whole sequence on a GPU, in float32 or float64.

    Args:
        cell: The equations.
        units: How many units of a sample a program works on at once, a power of 2, 16 or more; None for all up to 64.

    Attributes:
        computation: What it computes.

    Raises:
        NotFused: The equations hold what no kernel in Triton computes.
        ImportError: Triton is not installed.
    """

    def __init__(self, cell: Cell, units: int | None = None) -> None:
        source = source_of(cell)
        self.computation, self._units = source.computation, units
        self._module = generated(source.text)

    def run(self, way: str, given: Mapping[str, Any]) -> None:
        """One way, "forward" or "backward", on what is given by name."""
        x, is_dense = given["x"], self.computation.recurrent
        steps, batch, width = x.shape
        if not batch:
            return
        units = width // len(self.computation.cell.gates)
        block = self._units or min(MOST_UNITS, max(FEWEST_UNITS, 1 << (units - 1).bit_length()))
        samples = SAMPLES if is_dense else 1
        names = getattr(self.computation, f"{way}_arguments")
        arrays = [_array(name, given[name], steps) for name in names if name not in CONSTANTS]
        constants = {name: given[name] for name in CONSTANTS if name in names}
        grid = (-(-batch // samples), 1 if is_dense else -(-units // block))
        with torch.cuda.device(x.device) if x.is_cuda else contextlib.nullcontext():
            getattr(self._module, way)[grid](
                *arrays, steps, batch, units, **constants, SAMPLES=samples, UNITS=block, **OPTIONS
            )

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """Of two matrices, after the loop."""
        return left @ right


@cache
def kernel(cell: Cell) -> Kernel:
    """The kernel of a cell, made once for all equal cells."""
    return Kernel(cell)


@cache
def source_of(cell: Cell) -> Source:
    """What a cell's kernel is generated from, made once for all equal cells."""
    return Source(cell)


def _array(name: str, value: Tensor, steps: int) -> Tensor:
    # Where the states of all steps have no gradient, there is one step of zeros in its place.
    is_short = name.startswith("grad_") and name.endswith("_steps") and len(value) < steps
    return (value.expand(steps, -1, -1) if is_short else value).detach().contiguous()
