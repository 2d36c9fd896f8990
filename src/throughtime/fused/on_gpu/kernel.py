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
from torch.nn import functional

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
        apart: The gates whose W_ih x_t + b_ih the way back needs by itself: all.

    Raises:
        NotFused: The equations hold what no kernel in Triton computes.
        ImportError: Triton is not installed.
    """

    def __init__(self, cell: Cell, units: int | None = None) -> None:
        source = source_of(cell)
        self.computation, self._units = source.computation, units
        self.apart = cell.gates
        self._module = generated(source.text)

    def forward(self, given: Mapping[str, Any]) -> None:
        """The product with the inputs, by torch, and then all that follows."""
        x = functional.linear(given["sequence"], given["weight_ih"], given.get("bias_ih"))
        if given["keeping"]:
            given["x"].copy_(x)
        turned = {"weight_hh": given["weight_hh"].t()} if self.computation.recurrent else {}
        self._run("forward", {**given, **turned, "x": x})

    def backward(self, given: Mapping[str, Any], of_sequence: bool) -> dict[str, Tensor]:
        """The way back, and then the products of whole matrices, by torch."""
        x, sequence, is_dense = given["x"], given["sequence"], self.computation.recurrent
        own = {"grad_x": torch.empty_like(x)}
        own["grad_u"] = torch.empty_like(given["u"]) if self.computation.distinct else own["grad_x"]
        by_sample = [f"weight_{name}" for name in self.computation.cell.units]
        by_sample += ["weight_hh"] if self.computation.entered else []
        own |= {f"grad_{name}": x.new_zeros(x.shape[1], len(given[name])) for name in by_sample}
        self._run("backward", {**given, **own})
        grads = {name: own[f"grad_{name}"].sum(0) for name in by_sample}
        products = {"ih": ("grad_x", sequence)} | ({"hh": ("grad_u", given["h_before"])} if is_dense else {})
        for which, (of, read) in products.items():
            grads[f"weight_{which}"] = own[of].flatten(0, 1).t() @ read.flatten(0, 1)
            grads[f"bias_{which}"] = own[of].sum((0, 1))
        return grads | ({"sequence": own["grad_x"] @ given["weight_ih"]} if of_sequence else {})

    def _run(self, way: str, given: Mapping[str, Any]) -> None:
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
