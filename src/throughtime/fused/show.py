"""A kernel's source, for a person to read."""

from typing import Any, TextIO

import torch
from rich.console import Console
from rich.syntax import Syntax

from throughtime.cells import Cell
from throughtime.fused.kernel import PRECISIONS, source_of


def show_kernel(cell: Any, dtype: torch.dtype = torch.float32, file: TextIO | None = None) -> None:
    """Print the source of a cell's kernel, which is generated from its equations; in colours in a terminal.

    Args:
        cell: A `Cell`, a class of cells that needs no arguments, or a layer.
        dtype: The precision, torch.float32 or torch.float64.
        file: Where to, such as an open file; standard output by default.

    Raises:
        TypeError: `cell` is none of these.
        ValueError: There is no kernel for the cell or the dtype; the message says why.
    """
    made = cell() if isinstance(cell, type) and issubclass(cell, Cell) else getattr(cell, "cell", cell)
    if not isinstance(made, Cell):
        raise TypeError(f"cell: expected a throughtime.Cell, a subclass of it or a layer, found {cell!r}")
    if dtype not in PRECISIONS:
        raise ValueError(f"dtype: kernels compute in {' and '.join(map(str, PRECISIONS))}, found {dtype}")
    source = source_of(made).text(PRECISIONS[dtype])
    console = Console(file=file)
    if console.is_terminal:
        console.print(Syntax(source, "python", background_color="default"))
    else:
        print(source, file=file, end="")
