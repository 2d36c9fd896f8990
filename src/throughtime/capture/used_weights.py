"""The weights of a model as functions of torch meet them: themselves, or what is made of them alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from throughtime.capture.places import kept_by


@dataclass(frozen=True)
class Use:
    """A function of torch is called with a weight.

    Args:
        weight: The weight.
        received: What else went in, but for other weights and what is always there.
        makes_of: Where only weights went in, the one that the result is as good as.
    """

    weight: Tensor
    received: list[Tensor]
    makes_of: Tensor | None


class UsedWeights:
    """The weights of a model.

    Args:
        model: The model.

    Attributes:
        names: By identity of a weight its name, and that of the module that works with it.
    """

    def __init__(self, model: nn.Module) -> None:
        self.names = {
            id(weight): (f"{owner}.{name}" if owner else name, _working_with(model, owner))
            for owner, module in model.named_modules()
            for name, weight in module.named_parameters(recurse=False)
        }
        # What is as good as a weight, by identity, with that weight.
        self._made_of: dict[int, tuple[Tensor, Tensor]] = {id(one): (one, one) for one in model.parameters()}
        # Looking at a tensor is no call of the model's.
        with torch._C.DisableTorchFunction():
            kept = [tensor for module in model.modules() for tensor in kept_by(module).values()]
            self._always_there = {id(one) for one in kept if not one.requires_grad}

    def used_by(self, *arguments: Any) -> Use | None:
        """What a function with these arguments does with a weight; None where there is none among them."""
        tensors = [one for one in tree_leaves(arguments) if isinstance(one, Tensor)]
        origins = [self._made_of[id(one)][1] for one in tensors if id(one) in self._made_of]
        if not origins:
            return None
        weight = next((one for one in tensors if id(one) in self.names), origins[0])
        others = [one for one in tensors if id(one) not in self.names and id(one) not in self._always_there]
        received = [one for one in others if id(one) not in self._made_of or self._made_of[id(one)][1] is not weight]
        makes_of = None
        if all(id(one) in self._made_of for one in others):
            # An initial state that is a weight meets another one: what comes of it is still made of weights alone.
            makes_of = self._made_of[id(received[0])][1] if received else weight
        return Use(weight, received, makes_of)

    def made(self, value: Any, weight: Tensor) -> None:
        """What is made of weights alone, as by a mask or a sign, is as good as the weight."""
        for one in tree_leaves(value):
            if isinstance(one, Tensor) and one.requires_grad:
                self._made_of[id(one)] = one, weight


def _working_with(model: nn.Module, owner: str) -> str:
    """The module that works with the weights of one: not a list or dict of them, nor what they are parametrized by."""
    owner = re.sub(r"(^|\.)parametrizations\..*", "", owner)
    while isinstance(model.get_submodule(owner), nn.ParameterList | nn.ParameterDict):
        owner = owner.rpartition(".")[0]
    return owner
