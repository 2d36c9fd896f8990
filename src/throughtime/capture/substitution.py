"""Standing in for tensors while a model runs: copies of weights, and states that stay connected."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

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
        # A custom function gets its arguments past torch's functions. Another thread's are not the model's.
        self._apply = torch.autograd.Function.__dict__["apply"]
        here = threading.get_ident()

        def apply(function: Any, *args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == here:
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
                source = _first(args, kwargs)
                found = source.view_as(source)
                self._whole[id(found)] = found, source
                if func in _IN_PLACE:
                    self._whole[id(source)] = source, source
            else:
                found = func(*args, **kwargs)
            self.detached.append(found)
            return found
        written = _written(func, args, kwargs)
        return func(*self._replaced(args, written), **self._replaced(kwargs, written))

    def _replaced(self, arguments: Any, written: Sequence[Any] = ()) -> Any:
        if self.stand_in is None:
            return arguments
        stand_in = self.stand_in
        # What is changed in place must be the tensor itself.
        return tree_map_only(
            Tensor, lambda tensor: tensor if any(tensor is one for one in written) else stand_in(tensor), arguments
        )


def _first(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return args[0] if args else next(iter(kwargs.values()))


def _written(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """What a function writes into."""
    name, written = getattr(func, "__name__", ""), tree_leaves(kwargs.get("out"))
    if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")) or kwargs.get("inplace"):
        written.append(_first(args, kwargs))
    return written
