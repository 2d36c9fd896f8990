"""Options that do not go together, and places that cannot be written: refused before the work, not after."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from throughtime.cli.failures import check_writable
from throughtime.cli.saved import SUFFIX

STDOUT = Path("-")
# What names a checkpoint, even one that is not there; any other file that is no .py file is taken for one, too.
CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx", ".tar", ".h5", ".keras")


# The dtypes in which networks are trained, by the names that torch gives them.
DTYPES = {name: getattr(torch, name) for name in ("float16", "bfloat16", "float32", "float64")}


def is_checkpoint(target: str) -> bool:
    """Whether a target is a file of weights, and not the name of a function."""
    path = Path(target)
    return path.suffix in CHECKPOINTS or (path.is_file() and path.suffix not in (".py", SUFFIX))


def check_comparison(targets: Iterable[str], unused: Mapping[str, Any]) -> None:
    """Refuse what has no meaning where saved examinations are compared.

    Args:
        targets: The saved examinations.
        unused: By name, the options that are for an examination.

    Raises:
        ValueError: One of them is given.
    """
    for name, given in unused.items():
        if given is not None:
            raise ValueError(f"{name}: it is for an examination, but --compare reads {', '.join(targets)}")


def check_one(targets: list[str], text: Path | None, data: Path | None, steps: int | None) -> None:
    """Refuse options that are not for what is to be examined.

    Args:
        targets: At most one.
        text: `--text`.
        data: `--data`.
        steps: `--steps`.

    Raises:
        ValueError: There are more targets than one, or an option is for another kind of target.
    """
    if len(targets) > 1:
        raise ValueError(f"TARGET: expected at most one without --compare, found {', '.join(targets)}")
    target = targets[0] if targets else None
    if target is not None and target.endswith(SUFFIX):
        raise ValueError(f"TARGET: {target} is a saved examination; lay it beside others: --compare {target} ...")
    checkpoint = target is not None and is_checkpoint(target)
    for name, given in (("--text", text), ("--steps", None if checkpoint else steps)):
        if target is not None and given is not None:
            raise ValueError(
                f"{name}: it is for the training of the four networks, but {target} brings a model of its own"
            )
    if data is not None and not checkpoint:
        raise ValueError(f"--data: it is for a checkpoint, but {target or 'the training'} brings inputs of its own")
    if data is not None and steps is not None:
        raise ValueError(f"--steps: it is for inputs that are drawn, but {data} brings steps of its own")


def check_places(results: Mapping[str, Path | None], targets: Iterable[str], sources: Iterable[Path | None]) -> None:
    """Refuse places that cannot be written, that are given twice, or that hold what is to be read.

    Args:
        results: By name of the option, where the results go; the report's own, under "", is the first.
        targets: What is examined, as it is named.
        sources: What else is read.

    Raises:
        ValueError: A place is given twice, or would be overwritten though it is read.
        OSError: Nothing can be written there.
    """
    files = [Path(target if Path(target).exists() else target.rpartition(":")[0]) for target in targets]
    read = {path.resolve() for path in (*files, *sources) if path and path != Path()}
    taken: dict[Path, str] = {}
    for name, path in results.items():
        if path is None or path == STDOUT:
            continue
        if path.resolve() in taken:
            raise ValueError(f"{name}: {path} is where {taken[path.resolve()]}; give another place")
        if path.resolve() in read:
            raise ValueError(f"{path}: it would be overwritten, but it is what is examined; give another place")
        check_writable(path)
        taken[path.resolve()] = f"{name} goes" if name else "the report goes"


def dtype_named(name: str) -> torch.dtype:
    """The dtype that `--trained-in` names.

    Raises:
        ValueError: It names none in which networks are trained.
    """
    if name not in DTYPES:
        raise ValueError(f"--trained-in: expected one of {', '.join(DTYPES)}, found {name!r}")
    return DTYPES[name]


def check_training(targets: list[str], given: Mapping[str, Any]) -> None:
    """Refuse what is said of a training where none is examined.

    Args:
        targets: What is to be examined.
        given: By name, the options that describe the training of a model.

    Raises:
        ValueError: One of them is given, but there is no model of the caller's own, with its loss.
    """
    own = bool(targets) and not is_checkpoint(targets[0])
    for name, value in given.items():
        if value is not None and not own:
            raise ValueError(f"{name}: it is for a model of your own with its loss, as model.py:build")
