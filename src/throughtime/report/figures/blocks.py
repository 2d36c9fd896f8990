"""A map made small enough to be shown: in blocks of cells, to four digits."""

from typing import Any

import numpy as np

# Cells a side beyond which a map is shown by block maximum: no screen shows more.
LARGEST_SIDE = 400


def block_maximum(values: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """The largest number of each block of cells; NaN only where a block holds nothing else."""
    rows, columns = (-(-side // size) * size for side, size in zip(values.shape, block, strict=True))
    padded = np.full((rows, columns), np.nan)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(rows // block[0], block[0], columns // block[1], block[1])
    return np.fmax.reduce(np.fmax.reduce(blocks, axis=3), axis=1)


def centres(steps: np.ndarray, block: int) -> list[float]:
    """The middle of each block of steps."""
    return [float(steps[start : start + block].mean()) for start in range(0, len(steps), block)]


def rounded(values: np.ndarray) -> list[Any]:
    """Rows of numbers to four significant digits, None for what is not finite."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factor = 10.0 ** (3 - np.floor(np.log10(np.abs(values))))
        short = np.where(values == 0, 0.0, np.round(values * factor) / factor)
    cells = short.astype(object)
    cells[~np.isfinite(values)] = None
    return cells.tolist()
