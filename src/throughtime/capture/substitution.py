"""Standing in for tensors while a model runs: copies of weights, and states that stay connected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

_DETACH = {torch.detach, torch.detach_, Tensor.detach, Tensor.detach_, Tensor.data.__get__}  # type: ignore[attr-defined]


_IN_PLACE = {torch.detach_, Tensor.detach_}


class Substitution(TorchFunctionMode):
    """Every torch function gets the stand-ins of its arguments, while there are any; the model's detaches are counted.

    Args:
        reconnected: Which of the model's detaches, counted from 0, are to leave the graph whole.

    Attributes:
        stand_in: Gives the tensor to be used for a tensor, usually itself; None while nothing is to be replaced.
        detached: What every detach returned.
        clock: Counts whatever began while the model ran.
    """

    def __init__(self, reconnected: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.stand_in: Callable[[Tensor], Tensor] | None = None
        self.detached: list[Tensor] = []
        # By what a detach that leaves the graph whole has led to, what it was called on.
        self._whole: dict[int, tuple[Tensor, Tensor]] = {}
        # Tells what began first, of runs and of loops.
        self.clock = count()
        self._reconnected, self._paused = reconnected, False

    def was_reconnected(self, tensor: Tensor) -> bool:
        """Whether a tensor is what a detach led to that was to leave the graph whole."""
        return id(tensor) in self._whole

    def before_detach(self, tensor: Tensor) -> Tensor:
        """What such a detach was called on; any other tensor as it is."""
        return self._whole[id(tensor)][1] if id(tensor) in self._whole else tensor

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is replaced or counted inside: what runs there is not the model's."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def __enter__(self) -> Substitution:
        # A custom function gets its arguments past torch's functions.
        self._apply = torch.autograd.Function.__dict__["apply"]

        def apply(function: Any, *args: Any, **kwargs: Any) -> Any:
            with self.paused():
                args, kwargs = self._replaced(args), self._replaced(kwargs)
            return self._apply.__func__(function, *args, **kwargs)

        torch.autograd.Function.apply = classmethod(apply)  # type: ignore[assignment, method-assign]
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        torch.autograd.Function.apply = self._apply  # type: ignore[method-assign]
        super().__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        if func in _DETACH:
            if len(self.detached) in self._reconnected:
                found = args[0].view_as(args[0])
                self._whole[id(found)] = found, args[0]
                if func in _IN_PLACE:
                    self._whole[id(args[0])] = args[0], args[0]
            else:
                found = func(*args, **kwargs)
            self.detached.append(found)
            return found
        name = getattr(func, "__name__", "")
        if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
            # What is changed in place must be the tensor itself.
            return func(args[0], *self._replaced(args[1:]), **self._replaced(kwargs))
        return func(*self._replaced(args), **self._replaced(kwargs))

    def _replaced(self, arguments: Any) -> Any:
        if self.stand_in is None:
            return arguments
        return tree_map_only(Tensor, self.stand_in, arguments)
