"""Examinations in files: `--save` writes them, `--compare` lays them side by side."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from throughtime.examination import Examination, load

SUFFIX = ".nc"


def compared(targets: Sequence[str]) -> Mapping[str, Examination]:
    """Saved examinations by the names of their files; by their whole paths where two files have one name.

    Raises:
        ValueError: There are fewer than two of them, one is named twice, or one holds no examination.
        OSError: One of them cannot be read.
    """
    if len(targets) < 2:
        raise ValueError(f"--compare: expected two or more files made by --save, found {len(targets)}")
    paths = [Path(target) for target in targets]
    for path, times in Counter(path.resolve() for path in paths).items():
        if times > 1:
            raise ValueError(f"--compare: {path.name} is named {times} times; name every file once")
    stems = [path.stem for path in paths]
    names = stems if len(set(stems)) == len(stems) else targets
    return {name: load(path) for name, path in zip(names, paths, strict=True)}


def places(path: Path, networks: Iterable[str]) -> dict[str, Path]:
    """Where the examination of each network is saved: `path` for the only one, else with its name, lstm-GRU.nc.

    Raises:
        ValueError: `path` does not end in .nc.
    """
    if path.suffix != SUFFIX:
        raise ValueError(f"--save: expected a name that ends in {SUFFIX}, found {path}")
    return {name: path.with_stem(f"{path.stem}-{name}") if name else path for name in networks}
