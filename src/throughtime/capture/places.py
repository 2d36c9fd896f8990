"""Where tensors are found: in nests of containers and objects, in the variables of a function, and in memory."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

# What every module keeps for torch's sake.
TORCHS_ATTRIBUTES = frozenset(vars(nn.Module()))
# How deep states may be nested in tuples, lists, dicts and objects, and how many there may be side by side: what holds
# more is a sequence, which grows as a model runs.
DEPTH = 4
LARGEST = 64


def tensors_in(value: Any, place: str, depth: int = DEPTH) -> Iterator[tuple[str, Tensor]]:
    """Every floating-point or complex tensor in a nest of containers and plain objects, with its place."""
    if isinstance(value, Tensor):
        if is_transformed(value):
            return
        if (value.is_floating_point() or value.is_complex()) and value.numel() and value.layout == torch.strided:
            yield place, value
    elif depth == 0 or isinstance(value, str | bytes | int | float | nn.Module | type | None) or _is_long(value):
        return
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_in(item, f"{place}[{key!r}]", depth - 1)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        for name, item in zip(value._fields, value, strict=True):
            yield from tensors_in(item, f"{place}.{name}", depth - 1)
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from tensors_in(item, f"{place}[{index}]", depth - 1)
    elif is_dataclass(value):
        for one in fields(value):
            yield from tensors_in(getattr(value, one.name, None), f"{place}.{one.name}", depth - 1)
    elif not type(value).__module__.startswith(("torch.", "numpy.")):
        # What answers to every name, as a wrapper of a C library does, answers to this one with something else.
        attributes = getattr(value, "__dict__", None)
        for name, item in attributes.items() if isinstance(attributes, dict) else ():
            yield from tensors_in(item, f"{place}.{name}", depth - 1)


def is_transformed(tensor: Tensor) -> bool:
    """Whether a tensor is one that torch.func works with, inside vmap or jacrev: it has no memory and no numbers."""
    return torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def within_transforms(tensor: Tensor) -> Tensor:
    """What torch.func was given, of what it works with."""
    while is_transformed(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return tensor


def kept_by(owner: Any) -> dict[str, Tensor]:
    """The tensors that an object keeps as attributes; those of a module without its parameters."""
    kept: dict[str, Any] = {
        name: value for name, value in getattr(owner, "__dict__", {}).items() if name not in TORCHS_ATTRIBUTES
    }
    if isinstance(owner, nn.Module):
        kept.update(owner._buffers)
    found: dict[str, Tensor] = {}
    for name, value in kept.items():
        if not isinstance(value, nn.Parameter):
            found.update(tensors_in(value, f"self.{name}", 2))
    return found


def variables_in(local: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors in the variables of a function; of every list or dict, which may grow, the latest as "states[-1]"."""
    found: dict[str, Tensor] = {}
    for name, value in local.items():
        if name == "self":
            found.update(kept_by(value))
            continue
        found.update(tensors_in(value, name, 2))
        if isinstance(value, list | dict | deque):
            found.update(tensors_in(_latest(value), f"{name}[-1]", 1))
    return found


def _latest(items: list[Any] | dict[Any, Any] | deque[Any]) -> Tensor | tuple[Any, ...] | None:
    """What was last put in: behind it, a list that was made as long as the sequence holds None."""
    if not isinstance(items, list):
        latest = next(reversed(items.values() if isinstance(items, dict) else items), None)
    else:
        count = bisect_left(items, True, key=lambda item: item is None)
        latest = items[count - 1] if count else None
    return latest if isinstance(latest, Tensor | tuple) else None


def _is_long(value: Any) -> bool:
    return isinstance(value, tuple | list | Mapping) and len(value) > LARGEST


def same(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are one, or equal views of the same memory."""
    return one is other or memory_of(one) == memory_of(other)


def memory_of(tensor: Tensor) -> tuple[int, ...]:
    """What two tensors have in common where they are equal views of the same memory."""
    strides = (stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
    return (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), *tensor.shape, *strides)


def outer_name(place: str) -> str:
    """Of "state[0]" the part "state", of "self.memory" the part "self"."""
    return re.split(r"[.\[]", place, maxsplit=1)[0]


def inner_name(place: str) -> str:
    """Of "state.h" the part "h", of "state['c']" the part "c"."""
    return re.findall(r"[A-Za-z_]\w*", place)[-1] if re.search(r"[A-Za-z_]", place) else place
