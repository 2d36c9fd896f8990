"""Options that do not go together, and places that cannot be written: refused before the work, not after."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from throughtime.cli.failures import check_writable
from throughtime.cli.saved import SUFFIX

STDOUT = Path("-")
# What names a checkpoint, even one that is not there; any other file that is no .py file is taken for one, too.
CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx", ".tar", ".h5", ".keras")


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
