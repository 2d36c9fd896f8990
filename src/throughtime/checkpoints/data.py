"""Reading the data that a checkpoint is examined on."""

import csv
import os
import zipfile
from pathlib import Path

import numpy as np
from torch import Tensor

from throughtime.capture import ExaminationError

SUFFIXES = (".npy", ".npz", ".csv", ".txt")
# The array of an .npz file with several that is taken.
_NAMED = ("inputs", "x", "X", "data")
_DELIMITERS = ",;\t"


def read_data(data: str | os.PathLike[str] | np.ndarray | Tensor) -> tuple[np.ndarray, str]:
    """Numbers from a file or as they are, and what a message calls them.

    A .csv or .txt file holds one step per line, its columns separated by commas, semicolons, tabs or spaces; a first
    line that is not made of numbers is a heading, and a single line is a sequence of single numbers. Where all numbers
    of a text file are whole, they come back as integers; an array keeps its dtype.

    Raises:
        TypeError: They are neither a file nor an array.
        ExaminationError: They are no finite numbers of one to three axes; what was found is said.
        OSError: The file cannot be read.
    """
    name = "data"
    if isinstance(data, Tensor):
        values = data.detach().cpu().numpy()
    elif isinstance(data, np.ndarray):
        values = data
    elif not isinstance(data, str | os.PathLike):
        raise TypeError(f"data: expected a file's name, an array or a tensor, found {type(data).__name__}")
    else:
        path = Path(data)
        values, name = _read(path), str(path)
    return _checked(values, name), name


def _read(path: Path) -> np.ndarray:
    if path.suffix not in SUFFIXES:
        raise ExaminationError(f"{path}: expected data in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return _read_text(path) if path.suffix in (".csv", ".txt") else _read_numpy(path)
    except UnicodeDecodeError:
        raise ExaminationError(f"{path}: it is no text in UTF-8; save it in that encoding") from None
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, ExaminationError):
            raise
        raise ExaminationError(
            f"{path}: it cannot be read as NumPy's plain numbers; write it with numpy.save, not as objects"
        ) from error


def _read_numpy(path: Path) -> np.ndarray:
    # allow_pickle=False: an array of objects is code.
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded
    with loaded:
        names = list(loaded)
        chosen = names if len(names) == 1 else [name for name in _NAMED if name in names]
        if not chosen:
            raise ExaminationError(
                f"{path}: it holds {', '.join(names) or 'nothing'}; expected one array, or one of them called inputs"
            )
        return loaded[chosen[0]]


def _read_text(path: Path) -> np.ndarray:
    with path.open(encoding="utf-8-sig", newline="") as file:
        numbered = [(number, line) for number, line in enumerate(file.read().splitlines(), 1) if line.strip()]
    if not numbered:
        raise ExaminationError(f"{path}: found nothing: the file is empty")
    numbers, lines = zip(*numbered, strict=True)
    delimiter = next((mark for mark in _DELIMITERS if mark in lines[0]), None)
    rows = list(csv.reader(lines, delimiter=delimiter)) if delimiter else [line.split() for line in lines]
    heading = int(not _are_numbers(rows[0]) and len(rows) > 1)
    for number, line, row in list(zip(numbers, lines, rows, strict=False))[heading:]:
        if not _are_numbers(row):
            raise ExaminationError(
                f"{path}: line {number} is {line[:60]!r}; expected numbers, one step a line. A text "
                "must be given as the numbers of its tokens, as the checkpoint does not say which is which"
            )
        if len(row) != len(rows[heading]):
            raise ExaminationError(
                f"{path}: line {number} has {len(row)} columns, the lines before it {len(rows[heading])}"
            )
    values = np.array(rows[heading:], dtype=float)
    if (values == np.floor(values)).all():  # a text file has no dtype: whole numbers may be those of tokens
        values = values.astype(np.int64)
    # One number a step, down the file or along its only line.
    return values.ravel() if 1 in values.shape else values


def _are_numbers(row: list[str]) -> bool:
    try:
        return bool([float(cell) for cell in row])
    except ValueError:
        return False


def _checked(values: np.ndarray, name: str) -> np.ndarray:
    if not (np.issubdtype(values.dtype, np.number) or values.dtype == bool) or np.iscomplexobj(values):
        raise ExaminationError(f"{name}: it holds {values.dtype}, expected real numbers")
    if not 1 <= values.ndim <= 3 or not values.size:
        raise ExaminationError(
            f"{name}: found shape {values.shape}, expected (steps, features) or (steps, samples, features)"
        )
    if not np.isfinite(values).all():
        first = np.argwhere(~np.isfinite(values))[0].tolist()
        raise ExaminationError(f"{name}: NaN or inf, first at index {first} of shape {values.shape}")
    if len(values) < 2:
        raise ExaminationError(f"{name}: found one step in shape {values.shape}; there is nothing to look back on")
    if values.dtype == bool or values.dtype.itemsize > 8:
        values = values.astype(float)
    # As torch takes it: in this machine's order of bytes, and not backwards in memory.
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))
