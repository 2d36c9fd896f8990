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


def on_every_step(values: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Columns at some steps put where they belong among all of them, in blocks; NaN where there is no column.

    Returns:
        The largest number of each block, the middle of each block, and the steps of a block.
    """
    block = -(-int(steps[-1] - steps[0] + 1) // LARGEST_SIDE)
    place = (steps - steps[0]) // block
    gathered = np.full((int(place[-1]) + 1, len(values)), np.nan)
    np.fmax.at(gathered, place, values.T)
    return gathered.T, steps[0] + block * np.arange(len(gathered)) + (block - 1) / 2, block


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
