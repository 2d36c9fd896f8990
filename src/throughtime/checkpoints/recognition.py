"""The recurrences in named tensors, recognised by torch's names and by their shapes."""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from throughtime.capture import ExaminationError
from throughtime.cells import Named
from throughtime.checkpoints.layers import Checkpoint, Layer
from throughtime.checkpoints.tensors import Place, Stored, pickled_whole, without_wrappers

# "encoder.weight_ih_l0_reverse" of a layer, "decoder.cell.weight_ih" of a single cell. weight_hh_l0_raw is the trained
# weight where it is dropped out on its way into the layer (Merity et al. 2018, AWD-LSTM).
_KEY = re.compile(
    r"(?:(?P<module>.+)\.)?(?P<weight>(?:weight|bias)_(?:ih|hh)|weight_hr)"
    r"(?:_l(?P<layer>\d+)(?P<reverse>_reverse)?)?(?P<raw>_raw)?"
)
# What weight normalisation and pruning leave beside the whole weight, and the weight itself: parts of such a module.
_PART = re.compile(r"((weight|bias)_(ih|hh)|weight_hr|parametrizations\.).*")
_OF_A_CELL = re.compile(r"(weight|bias)_\w+")
# Rows of weight_hh per unit: one block of rows for every gate and the candidate.
_KINDS = {1: "RNN", 3: "GRU", 4: "LSTM"}
# Parts of the names that embeddings usually bear.
_EMBEDDING = re.compile(r"emb|wte|lookup|vocab", re.IGNORECASE)
# Names that a message shows.
_SHOWN = 6

# The weights of one direction of one layer: layer None is a single cell's.
_Direction = tuple[int | None, bool]


class _NotRecognised(ValueError):
    """A module whose weights fit no recurrence that is known; the message says why."""


def recognised(stored: Stored, path: Path) -> Checkpoint:
    """The recurrent layers and the embeddings among named tensors.

    Args:
        stored: The tensors.
        path: Of the file, for messages.

    Raises:
        ExaminationError: No recurrence is among them, or none that is known.
    """
    modules = _modules(stored.tensors)
    places = {place for place, _ in modules}
    layers: list[Layer] = []
    problems: list[str] = []
    named = _named(modules, places)
    for (place, module), directions in modules.items():
        name = named[place, module]
        try:
            _check_all_known(stored.tensors, place, module)
            layers += _layers(name, directions)
        except _NotRecognised as error:
            problems.append(f"{name or 'the recurrence'}: {error}")
    if not layers:
        if not problems and any(name.startswith("torch.nn.") for name in stored.unread):
            raise ExaminationError(pickled_whole(path, stored.unread))
        raise ExaminationError(f"{path}: " + ("; ".join(problems) or _none_found(stored)))
    notes = [f"Left out: {problem}." for problem in problems]
    if stored.unread:
        notes.append(f"Not read, as it is no plain data: {', '.join(stored.unread[:_SHOWN])}.")
    return Checkpoint(tuple(layers), _embeddings(stored.tensors, places), tuple(notes))


def _modules(tensors: Mapping[tuple[Place, str], Tensor]) -> dict[tuple[Place, str], dict[_Direction, Named]]:
    """The weights of every module with any, by layer and direction and by name."""
    modules: dict[tuple[Place, str], dict[_Direction, Named]] = {}
    for (place, key), tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            continue
        module, weight = match["module"] or "", match["weight"]
        if match["raw"] and (place, f"{module}.module.weight_ih_l{match['layer']}") in tensors:
            module = f"{module}.module"  # fastai keeps it one level up
        direction = None if match["layer"] is None else int(match["layer"]), match["reverse"] is not None
        weights = modules.setdefault((place, module), {}).setdefault(direction, {})
        # The raw weight is the whole one; the other has lost what dropout took from it.
        if match["raw"] or weight not in weights:
            weights[weight] = tensor
    return modules


def _named(modules: Collection[tuple[Place, str]], places: Collection[Place]) -> dict[tuple[Place, str], str]:
    """The names of modules or tensors; what stands around them counts only where it tells them apart.

    That is dicts, where several hold recurrences, and what DataParallel and torch.compile put before a name.
    """
    inside = {one: without_wrappers(f"{one[1]}.").removesuffix(".") for one in modules}
    counts = Counter((place, inside[place, module]) for place, module in modules)
    return {
        (place, module): ".".join(
            filter(None, (*(place if len(places) > 1 else ()), name if counts[place, name] == 1 else module))
        )
        for (place, module), name in inside.items()
    }


def _check_all_known(tensors: Mapping[tuple[Place, str], Tensor], place: Place, module: str) -> None:
    """A module with anything else in it is a cell of another kind; what stands beside a module without a name may be
    the rest of a model."""
    inside = f"{module}." if module else ""
    keys = [key.removeprefix(inside) for at, key in tensors if at == place and key.startswith(inside)]
    others = sorted(key for key in keys if not _PART.fullmatch(key) and (module or _OF_A_CELL.fullmatch(key)))
    if others:
        raise _NotRecognised(
            f"beside weight_ih and weight_hh there is {', '.join(others[:_SHOWN])}, so this is none of torch's cells. "
            "A cell of another kind can be examined with its code: throughtime.examine"
        )


def _layers(name: str, directions: Mapping[_Direction, Named]) -> list[Layer]:
    layers: list[Layer] = []
    for layer in sorted({layer for layer, _ in directions}, key=lambda layer: -1 if layer is None else layer):
        suffix = "" if layer is None else f"l{layer}"
        found = {
            reverse: _checked(weights, suffix + "_reverse" * reverse)
            for (its_layer, reverse), weights in directions.items()
            if its_layer == layer
        }
        kinds = {_kind(weights) for weights in found.values()}
        if len(kinds) > 1:
            raise _NotRecognised(f"the directions of {suffix} are of different kinds, {' and '.join(sorted(kinds))}")
        below = layers[-1] if layer and layers else None
        new = Layer(
            ".".join(filter(None, (name, suffix))) or "cell",
            kinds.pop(),
            found.get(False),
            found.get(True),
            None if below is None else below.name,
        )
        if below is not None and new.input_size != below.width * len(below.directions):
            raise _NotRecognised(
                f"weight_ih_{suffix} has {new.input_size} columns, but the layer before it gives "
                f"{below.width * len(below.directions)} features"
            )
        layers.append(new)
    return layers


def _checked(weights: Named, suffix: str) -> Named:
    """The weights of one direction, complete and of shapes that fit each other."""
    of = f"_{suffix}" if suffix else ""
    missing = [name for name in ("weight_ih", "weight_hh") if name not in weights]
    if missing:
        raise _NotRecognised(
            f"there is no {missing[0]}{of}, only {', '.join(sorted(name + of for name in weights))}; where it is "
            "stored in parts (weight norm, pruning, a parametrization), make it a plain parameter first, e.g. with "
            "torch.nn.utils.parametrize.remove_parametrizations, and save the state_dict again"
        )
    for name, weight in weights.items():
        if not weight.is_floating_point():
            raise _NotRecognised(f"{name}{of} is {weight.dtype}; save the weights as they were before quantisation")
        if not weight.isfinite().all():
            count = int((~weight.isfinite()).sum())
            raise _NotRecognised(f"{name}{of} holds {count} NaN or inf among {weight.numel()} values")
    kind = _kind(weights)  # before the shapes are compared, as it says best what is wrong
    rows = weights["weight_hh"].shape[0]
    for name, axes in {"weight_ih": 2, "bias_ih": 1, "bias_hh": 1}.items():
        if name in weights and (weights[name].dim() != axes or len(weights[name]) != rows):
            raise _NotRecognised(
                f"{name}{of} has shape {tuple(weights[name].shape)}, expected {rows} rows as weight_hh{of} "
                f"of this {kind}"
            )
    for one, other in (("bias_ih", "bias_hh"), ("bias_hh", "bias_ih")):
        if one in weights and other not in weights:
            weights = {**weights, other: weights[one].new_zeros(rows)}
    return weights


def _kind(weights: Named) -> str:
    """By the rows of weight_hh for every unit."""
    weight, projection = weights["weight_hh"], weights.get("weight_hr")
    if weight.dim() == 2 and (projection is None or projection.dim() == 2):
        rows, columns = weight.shape
        units, width = (columns, columns) if projection is None else (projection.shape[1], projection.shape[0])
        gates = rows // units if units and rows % units == 0 and width == columns else 0
        if gates in _KINDS and (projection is None or gates == 4):
            return _KINDS[gates]
    through = "" if projection is None else f", projected by weight_hr of shape {tuple(projection.shape)}"
    raise _NotRecognised(
        f"weight_hh has shape {tuple(weight.shape)}{through}; expected as many rows as columns (RNN), 3 times (GRU) or "
        "4 times as many (LSTM). A cell of another kind can be examined with its code: throughtime.examine"
    )


def _embeddings(tensors: Mapping[tuple[Place, str], Tensor], places: set[Place]) -> dict[str, Tensor]:
    """Tables that are called embeddings; where none is, those that look like one.

    An embedding has no bias and, where its name does not tell, stands before the recurrence and is not square.
    """
    called, others, named = {}, {}, _named(tensors, places)
    begun = False
    for (place, key), tensor in tensors.items():
        begun = begun or _KEY.fullmatch(key) is not None
        if tensor.dim() != 2 or not tensor.is_floating_point() or _KEY.fullmatch(key) or not key.endswith("weight"):
            continue
        if (place, f"{key.removesuffix('weight')}bias") in tensors or len(tensor) < 2:
            continue
        name = named[place, key]
        if _EMBEDDING.search(key):
            called[name] = tensor
        elif not begun and tensor.shape[0] != tensor.shape[1]:
            others[name] = tensor
    return called or others


def _none_found(stored: Stored) -> str:
    keys = [".".join((*place, key)) for place, key in stored.tensors]
    listed = ", ".join(keys[:_SHOWN]) + (f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else "")
    unread = f"; not read, as it is not plain data: {', '.join(stored.unread[:_SHOWN])}" if stored.unread else ""
    return (
        f"found no recurrence, but {listed or 'no tensors'}{unread}. Expected the state_dict of a model with nn.RNN, "
        "nn.GRU, nn.LSTM or their cells: keys that end with weight_ih_l0 and weight_hh_l0, or weight_ih and weight_hh"
    )
