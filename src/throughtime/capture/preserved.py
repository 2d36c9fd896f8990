"""Leaving everything as it was: random state, buffers, flags, gradients."""

import random
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from throughtime.capture.places import DEPTH, LARGEST, TORCHS_ATTRIBUTES


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Run a block that may draw random numbers, change buffers and weights or ask for gradients, and undo all of it."""
    buffers, before = list(model.buffers()), Buffers(model)
    parameters = [
        (parameter, parameter.requires_grad, parameter.grad, parameter._backward_hooks, parameter.detach().clone())
        for parameter in model.parameters()
    ]
    for parameter, *_ in parameters:
        # A hook changes a gradient on its way to .grad; what is examined is the gradient.
        parameter._backward_hooks = None
    with same_randomness(), same_attributes(model):
        try:
            yield
        finally:
            for parameter, requires_grad, gradient, hooks, value in parameters:
                parameter.requires_grad_(requires_grad)
                # A forward pass may hold its weights within bounds, as an embedding with a max_norm does.
                if not torch.equal(parameter, value):
                    parameter.data.copy_(value)
                parameter.grad = gradient
                parameter._backward_hooks = hooks
            before.restore(buffers)


class Buffers:
    """What the buffers of a model hold at one time.

    Memory is kept, not tensors, since one may be a part of another, or stand for many equal numbers.

    Args:
        model: The model.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._memory: dict[int, torch.UntypedStorage] = {}
        for buffer in filter(_is_plain, model.buffers()):
            storage = buffer.untyped_storage()
            if storage.data_ptr() not in self._memory:
                self._memory[storage.data_ptr()] = storage.clone()

    @contextmanager
    def again(self) -> Iterator[None]:
        """Run a block that begins with what they held then: those that hold something else now are copies meanwhile.

        What the graph of an earlier run has kept of them stays as it is.
        """
        copies = {_place(one): self._memory[_place(one)].clone() for one in self._model.buffers() if self._changed(one)}
        before = list(_owners(self._model))
        for module, buffers in before:
            vars(module)["_buffers"] = {
                name: one if one is None or _place(one) not in copies else _view(one, copies[_place(one)])
                for name, one in buffers.items()
            }
        try:
            yield
        finally:
            for module, buffers in before:
                vars(module)["_buffers"] = buffers

    def restore(self, buffers: Iterable[Tensor]) -> None:
        """Give some of them what they held then, in place."""
        with torch.no_grad():
            for buffer in buffers:
                if self._changed(buffer):
                    buffer.untyped_storage().copy_(self._memory[_place(buffer)])

    def _changed(self, buffer: Tensor) -> bool:
        memory = self._memory.get(_place(buffer))
        return memory is not None and not torch.equal(buffer, _view(buffer, memory))


def _owners(model: nn.Module) -> Iterator[tuple[nn.Module, dict[str, Tensor | None]]]:
    """The modules and their buffers by name, but for scripted ones, which keep them elsewhere."""
    for module in model.modules():
        if not isinstance(module, torch.jit.ScriptModule):
            yield module, module._buffers


def _is_plain(buffer: Tensor) -> bool:
    """Whether it is numbers in memory and nothing else, as sparse tensors and subclasses are not."""
    return buffer.layout is torch.strided and type(buffer) in (Tensor, nn.Parameter) and not buffer.is_meta


def _place(buffer: Tensor) -> int:
    return buffer.untyped_storage().data_ptr() if _is_plain(buffer) else -1


def _view(like: Tensor, memory: torch.UntypedStorage) -> Tensor:
    """The same part of other memory."""
    found = torch.empty(0, dtype=like.dtype, device=like.device)
    return found.set_(memory, like.storage_offset(), like.shape, like.stride())


@contextmanager
def same_attributes(model: nn.Module) -> Iterator[None]:
    """Run a block, and give back to every module the attributes it had: a state it keeps, a count, a flag.

    What it keeps in lists, dicts, sets and deques is given back to these.
    """
    before = [(module, dict(vars(module))) for module in model.modules()]
    containers = [
        (container, container.copy())
        for _, attributes in before
        for name, value in attributes.items()
        if name not in TORCHS_ATTRIBUTES
        for container in _containers(value)
    ]
    for module, buffers in _owners(model):
        # What is put in their place is undone with the rest.
        vars(module)["_buffers"] = dict(buffers)
    try:
        yield
    finally:
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)
        for container, held in containers:
            container.clear()
            (container.update if isinstance(container, dict | set) else container.extend)(held)


def _containers(value: Any, depth: int = DEPTH) -> Iterator[Any]:
    """A list, dict, set or deque and those in it, as far as states may be nested."""
    if not isinstance(value, list | dict | set | deque):
        return
    yield value
    if depth and len(value) <= LARGEST:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _containers(item, depth - 1)


@contextmanager
def same_randomness() -> Iterator[None]:
    """Run a block from the present random state of torch, NumPy and Python, and return to that state."""
    python, arrays = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(arrays)
