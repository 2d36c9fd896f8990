"""The named tensors of a file, read without running anything in it."""

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.parameter import is_lazy

from throughtime.capture import ExaminationError

# Prefixes that DataParallel and torch.compile put before every name.
WRAPPERS = ("module.", "_orig_mod.")

Place = tuple[str, ...]


@dataclass(frozen=True)
class Stored:
    """The tensors of a file.

    Args:
        tensors: By the place of the dict they are in and their name there: (("state_dict",), "encoder.weight_ih_l0").
        unread: Classes and functions of what was not read, as they would have to be run for it.
    """

    tensors: Mapping[tuple[Place, str], Tensor]
    unread: tuple[str, ...] = ()


class _Unread:
    """Takes the place of an object that only code from the file could make. It keeps nothing and does nothing."""

    def __new__(cls, *arguments: Any) -> "_Unread":
        return super().__new__(cls)

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_tensors(path: Path) -> Stored:
    """All tensors of a .safetensors file, or of a file written with torch.save.

    A file of torch.save is read with weights_only=True. What is not plain data in it (a namespace of options, a NumPy
    number) is left out, so that the tensors beside it can be read all the same.

    Raises:
        ExaminationError: The file cannot be read so; the message says what to do.
        OSError: It cannot be opened.
    """
    if path.suffix == ".safetensors":
        try:
            stored: Any = load_file(path)
        except SafetensorError as error:
            raise ExaminationError(f"{path}: no safetensors file ({error})") from None
        return Stored(dict(_tensors(stored)))
    unread = _refused(path)
    try:
        with torch.serialization.safe_globals([(_Unread, name) for name in unread]):
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file may fail anywhere
        named = unread or _named_in(error)
        if named:
            raise ExaminationError(pickled_whole(path, named)) from None
        # Where torch advises to run what is in the file, that is not passed on.
        reason = type(error).__name__ if "weights_only" in str(error) else f"{type(error).__name__}: {error}"
        raise ExaminationError(
            f"{path}: not a file that torch.save has written, or a damaged one ({reason}); expected a state_dict in "
            ".pt, .pth, .ckpt or .bin, a .safetensors or an .onnx file"
        ) from None
    tensors = dict(_tensors(stored)) if isinstance(stored, Mapping | list | tuple) else {}
    if not tensors and unread:
        raise ExaminationError(pickled_whole(path, unread))
    return Stored(tensors, unread)


def without_wrappers(name: str) -> str:
    """A name without what DataParallel and torch.compile put before it."""
    while name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name


def _refused(path: Path) -> tuple[str, ...]:
    """What weights_only=True refuses in a file, by name; nothing of it is imported."""
    if _is_torchscript(path):
        raise ExaminationError(
            f"{path}: a TorchScript archive, which is code; where you trust it, save its weights first: "
            f'torch.save(torch.jit.load("{path}").state_dict(), "weights.pt")'
        )
    try:
        return tuple(sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path)))
    except OSError:
        raise
    except Exception:  # the format before torch 1.6 is not listed, and a damaged file is told of when it is read
        return ()


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())


def pickled_whole(path: Path, unread: tuple[str, ...]) -> str:
    """What is said of a file that holds a model, not its weights."""
    listed = ", ".join(unread[:4]) + (", ..." if len(unread) > 4 else "")
    return (
        f"{path}: it holds whole pickled objects ({listed}), which only their own code can read, and nothing in a file "
        "is run here; where you trust it, load it as you always do and save the weights alone: "
        'torch.save(model.state_dict(), "weights.pt")'
    )


def _named_in(error: Exception) -> tuple[str, ...]:
    """The class that torch's message names, if it does: in the format before torch 1.6, nothing else tells."""
    return tuple(str(error).partition("GLOBAL ")[2].split()[:1])


def _tensors(value: Any, place: Place = ()) -> Iterator[tuple[tuple[Place, str], Tensor]]:
    """Every tensor in nested dicts, lists and tuples."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        if isinstance(item, Tensor) and not is_lazy(item):
            yield (place, str(key)), item.detach()
        elif isinstance(item, Mapping | list | tuple):
            yield from _tensors(item, (*place, str(key)))
