"""A kernel's source, for a person to read."""

from typing import Any, TextIO

import torch
from rich.console import Console
from rich.syntax import Syntax

from throughtime.cells import Cell
from throughtime.fused import on_gpu
from throughtime.fused.kernel import PRECISIONS, source_of


def show_kernel(cell: Any, dtype: torch.dtype = torch.float32, file: TextIO | None = None, device: str = "cpu") -> None:
    """Print the source of a cell's kernel, which is generated from its equations; in colours in a terminal.

    Args:
        cell: A `Cell`, a class of cells that needs no arguments, or a layer.
        dtype: The precision, torch.float32 or torch.float64. A kernel for a GPU is the same for both.
        file: Where to, such as an open file; standard output by default.
        device: "cpu" for the kernel in Numba, "cuda" for the one in Triton, which need not be installed for this.

    Raises:
        TypeError: `cell` is none of these.
        ValueError: There is no kernel for the cell, the dtype or the device; the message says why.
    """
    equations = getattr(cell, "equations", cell) if isinstance(cell, type) else getattr(cell, "cell", cell)
    made = equations() if isinstance(equations, type) and issubclass(equations, Cell) else equations
    if not isinstance(made, Cell):
        raise TypeError(f"cell: expected a throughtime.Cell, a subclass of it or a layer, found {cell!r}")
    if dtype not in PRECISIONS:
        raise ValueError(f"dtype: kernels compute in {' and '.join(map(str, PRECISIONS))}, found {dtype}")
    if device not in ("cpu", "cuda"):
        raise ValueError(f"device: there are kernels for 'cpu' and 'cuda', found {device!r}")
    source = on_gpu.source_of(made).text if device == "cuda" else source_of(made).text(PRECISIONS[dtype])
    console = Console(file=file)
    if console.is_terminal:
        console.print(Syntax(source, "python", background_color="default"))
    else:
        print(source, file=file, end="")
