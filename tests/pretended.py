"""A device that is not there: tensors of the CPU that say they are elsewhere, and must not meet those that do not.

What would fail on a GPU for standing on the wrong device fails here, too: an operation on tensors of both devices, but
for numbers of the CPU without an axis and indices, and NumPy's view of a tensor. What a GPU computes is computed on the
CPU, so that every number can be compared exactly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from throughtime.capture import checks, watch

# A device of PyTorch's own that no real tensor is on in these tests, and that derivatives may be taken on.
DEVICE = torch.device("meta")
# Which tensors of the CPU CUDA's own operations take beside those on the GPU.
INDEXED = {"aten.index.Tensor", "aten.index_put_.default", "aten.index_put.default", "aten._index_put_impl_.default"}
# What is packed has its lengths on the CPU in any case, and says on the CPU how many samples it has at every step.
PACKING = {"aten._pack_padded_sequence.default", "aten._pad_packed_sequence.default"}
EXEMPT = {"aten.copy_.default", *PACKING}


class Elsewhere(Tensor):
    """A tensor of the CPU that says that it is on `DEVICE`."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> Elsewhere:
        return Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
            requires_grad=held.requires_grad,
        )

    def __init__(self, held: Tensor) -> None:
        self.held = held.detach()

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Elsewhere({self.held!r})"

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {})


class Pretending(TorchDispatchMode):
    """While it is on, what is made on `DEVICE` holds numbers."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {})


def computed(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation, on the CPU, if all that it takes is on one device."""
    flat, _ = tree_flatten((args, kwargs))
    tensors = [value for value in flat if isinstance(value, Tensor)]
    elsewhere = [value for value in tensors if isinstance(value, Elsewhere)]
    asked = kwargs.get("device")
    there = bool(elsewhere) if asked is None else torch.device(asked) == DEVICE
    name = str(function)
    if elsewhere and name not in EXEMPT:
        here = [value for value in tensors if not isinstance(value, Elsewhere) and value.dim() > 0]
        if name in INDEXED:
            # The tensor and what is put into it on one device, the indices anywhere.
            looked_at = [args[0], *(value for value in args[2:3] if isinstance(value, Tensor) and value.dim() > 0)]
            here = [value for value in looked_at if not isinstance(value, Elsewhere)]
        if here:
            shapes = [tuple(value.shape) for value in here]
            raise RuntimeError(f"{name}: expected all tensors on one device, found {shapes} on the CPU")
    held = {id(value): value.held for value in elsewhere}
    unwrapped = tree_map_only(Tensor, lambda value: held.get(id(value), value), (args, kwargs))
    if asked is not None and there:
        unwrapped[1]["device"] = torch.device("cpu")
    found = function(*unwrapped[0], **unwrapped[1])
    back = {id(value.held): value for value in elsewhere}
    if not there:
        return found
    if name in PACKING:
        return (Elsewhere(found[0]), found[1])
    return tree_map_only(Tensor, lambda value: back[id(value)] if id(value) in back else Elsewhere(value), found)


@contextlib.contextmanager
def pretending() -> Iterator[None]:
    """With a device of that kind, on which models may be, and whose own Python is no part of them."""
    with pytest.MonkeyPatch.context() as patch, Pretending():
        patch.setattr(checks, "DEVICES", (*checks.DEVICES, DEVICE.type))
        patch.setattr(watch, "_STANDARD", {*watch._STANDARD, __file__})
        yield


def moved(module: nn.Module) -> nn.Module:
    """A module with all that it holds there."""
    for one in module.modules():
        for name, parameter in one._parameters.items():
            if parameter is not None:
                one._parameters[name] = nn.Parameter(Elsewhere(parameter.detach().clone()))
        for name, buffer in one._buffers.items():
            if buffer is not None:
                one._buffers[name] = Elsewhere(buffer.clone())
        if isinstance(one, nn.RNNBase):
            one._flat_weights = [getattr(one, weight) for weight in one._flat_weights_names]
    return module
