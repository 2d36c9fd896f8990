"""Leaving everything as it was: random state, buffers, flags, gradients."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def preserved(model: nn.Module) -> Iterator[None]:
    """Run a block that may draw random numbers, update buffers or ask for gradients, and undo all of it afterwards."""
    buffers = {name: (buffer, buffer.detach().clone()) for name, buffer in model.named_buffers()}
    parameters = [
        (parameter, parameter.requires_grad, parameter.grad, parameter._backward_hooks)
        for parameter in model.parameters()
    ]
    for parameter, *_ in parameters:
        # A hook changes a gradient on its way to .grad; what is examined is the gradient.
        parameter._backward_hooks = None
    with same_randomness(), same_attributes(model):
        try:
            yield
        finally:
            for name, (buffer, value) in buffers.items():
                owner, _, attribute = name.rpartition(".")
                model.get_submodule(owner)._buffers[attribute] = buffer
                with torch.no_grad():
                    buffer.copy_(value)
            for parameter, requires_grad, gradient, hooks in parameters:
                parameter.requires_grad_(requires_grad)
                parameter.grad = gradient
                parameter._backward_hooks = hooks


@contextmanager
def same_attributes(model: nn.Module) -> Iterator[None]:
    """Run a block, and give back to every module the attributes it had: a state it keeps, a count, a flag.

    Buffers are copies meanwhile, so that the next run begins where this one did, and none of them changes in the graph.
    """
    before = [(module, dict(vars(module))) for module in model.modules()]
    copies: dict[int, torch.Tensor] = {}
    for module, attributes in before:
        buffers = attributes["_buffers"].items()
        copied = {name: copies.setdefault(id(one), one.clone()) for name, one in buffers if one is not None}
        # As torch.nn.Module itself would take it for something to register.
        vars(module)["_buffers"] = {name: copied.get(name) for name, _ in buffers}
    try:
        yield
    finally:
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)


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
