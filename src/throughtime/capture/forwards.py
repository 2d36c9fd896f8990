"""Other functions in place of the forward functions of recurrent modules, while a model runs."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

from throughtime.capture.modules import own_kind


@contextmanager
def replaced(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Inside, torch's own forward functions, and ours, run what is given, also where a subclass calls them.

    Not where the model asks for no gradients: what runs there is data.

    Args:
        forwards: By module, what is called in place of its forward function, without the module.
    """
    by_id = {id(module): forward for module, forward in forwards.items()}
    with ExitStack() as stack:
        for own in {own_kind(module) for module in forwards}:
            stack.enter_context(patch.object(own, "forward", _dispatching(own.forward, by_id)))
        for module, forward in forwards.items():
            # Somebody's replacement holds the function that it replaced.
            if "forward" in module.__dict__:
                instead = _with_gradients(forward, module.__dict__["forward"])
                stack.enter_context(patch.dict(module.__dict__, forward=instead))
        yield


def _with_gradients(forward: Callable[..., Any], without: Callable[..., Any]) -> Callable[..., Any]:
    def either(*arguments: Any, **keywords: Any) -> Any:
        return (forward if torch.is_grad_enabled() else without)(*arguments, **keywords)

    return either


def _dispatching(own: Callable[..., Any], forwards: Mapping[int, Callable[..., Any]]) -> Callable[..., Any]:
    # Those that are not replaced are seen to be called with the same arguments as before.
    @wraps(own)
    def forward(self: nn.Module, *arguments: Any, **keywords: Any) -> Any:
        if id(self) in forwards and torch.is_grad_enabled():
            return forwards[id(self)](*arguments, **keywords)
        return own(self, *arguments, **keywords)

    return forward


# By this a watcher recognises that a forward function is called, also past `__call__`.
DISPATCHED = _dispatching(nn.Module.forward, {}).__code__
