"""What a tensor was computed from, as autograd's graph knows it."""

from collections import deque
from collections.abc import Iterable, Iterator, Set
from functools import cache
from typing import Any

import torch
from torch import Tensor


def distance(tensor: Tensor, source: Tensor, blocked: Iterable[Tensor] = ()) -> int | None:
    """How many operations lie between a tensor and one that it was computed from; None where it was not.

    Args:
        tensor: The later one.
        source: The earlier one; neither is a leaf.
        blocked: Tensors beyond which is not looked.
    """
    if tensor is source:
        return 0
    if tensor.grad_fn is None or source.grad_fn is None:
        return None
    # An operation may have several results, so that a tensor is known by which of them it is.
    start, target = (tensor.grad_fn, tensor.output_nr), (source.grad_fn, source.output_nr)
    walls = {(one.grad_fn, one.output_nr) for one in blocked if one.grad_fn is not None}
    # No operation is older than those that it depends on.
    oldest = source.grad_fn._sequence_nr()
    queue: deque[tuple[tuple[Any, int], int]] = deque([(start, 0)])
    seen: set[tuple[Any, int]] = {start}
    passed: set[Any] = set()
    while queue:
        result, steps = queue.popleft()
        if result == target:
            return steps
        node = result[0]
        if result in walls or node in passed:
            continue
        passed.add(node)
        for below in node.next_functions:
            if below[0] is not None and below not in seen and below[0]._sequence_nr() >= oldest:
                seen.add(below)
                queue.append((below, steps + 1))
    return None


def leaves_behind(tensor: Tensor, walls: Set[Any] = frozenset()) -> set[int]:
    """The ids of the leaves that a tensor was computed from, without those beyond other tensors.

    Args:
        tensor: The tensor.
        walls: The operations that those others came from; its own may be among them.
    """
    if tensor.grad_fn is None:
        return {id(tensor)}
    queue: deque[Any] = deque([tensor.grad_fn])
    seen, found = {tensor.grad_fn}, set()
    while queue:
        node = queue.popleft()
        if node in walls and node is not tensor.grad_fn:
            continue
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                queue.append(below)
    return found


def saved_behind(tensor: Tensor) -> Iterator[Tensor]:
    """What the graph of a tensor keeps for its backward pass, down to the leaves, and the leaves themselves."""
    queue: deque[Any] = deque([] if tensor.grad_fn is None else [tensor.grad_fn])
    seen = set(queue)
    while queue:
        node = queue.popleft()
        if hasattr(node, "variable"):
            yield node.variable
        for name in _saved_names(type(node)):  # type: ignore[arg-type]
            try:
                value = getattr(node, name)
            except RuntimeError:
                # Changed in place since then, so that it keeps nothing that could be used.
                continue
            yield from (one for one in (value if isinstance(value, tuple | list) else (value,)) if _is_tensor(one))
        for below, _ in node.next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                queue.append(below)


@cache
def _saved_names(node: type) -> tuple[str, ...]:
    return tuple(name for name in dir(node) if name.startswith("_saved_") or name == "saved_tensors")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided
