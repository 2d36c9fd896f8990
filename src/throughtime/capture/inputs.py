"""The input of a model, step by step: what can be followed where there is no state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from throughtime.capture.checks import tensors_of
from throughtime.capture.errors import ExaminationError
from throughtime.capture.recurrence import Loop
from throughtime.notation import INPUTS

# The name of its only state.
INPUT_STATE = "x"


@dataclass(frozen=True)
class InputPlan:
    """Which tensor is the input that is followed.

    Args:
        module: The embedding whose output it is; None where it is among the model's arguments.
        place: Its place among all floating-point arguments.
        axis: Its axis of time.
    """

    module: nn.Module | None
    place: int
    axis: int


def input_plan(model: nn.Module, inputs: Any, losses: int, time_axis: int | None) -> InputPlan:
    """Find the input and its axis of time.

    It is the first floating-point argument that has an axis as long as there are losses, where there is one, or else
    the first of them; without any, what the first embedding returns.

    Args:
        model: The model.
        inputs: What it is called with.
        losses: How many losses there are: the length of the axis of time, where there is more than one.
        time_axis: What the user says.

    Raises:
        ExaminationError: There is no such tensor, or its axis of time cannot be told.
    """
    tensors = [tensor for _, tensor in tensors_of("inputs", inputs)]
    floating = [tensor for tensor in tensors if tensor.is_floating_point()]
    if floating:
        place = next((place for place, one in enumerate(floating) if losses > 1 and losses in one.shape), 0)
        return InputPlan(None, place, _axis(tuple(floating[place].shape), losses, time_axis))
    embedding = next((one for one in model.modules() if isinstance(one, nn.Embedding | nn.EmbeddingBag)), None)
    if embedding is None or not tensors:
        raise ExaminationError(
            "inputs: expected a floating-point tensor among them, or an nn.Embedding in the model, to take derivatives "
            "with respect to"
        )
    # Its last axis is that of the features.
    return InputPlan(embedding, 0, _axis(tuple(tensors[0].shape), losses, time_axis))


class InputWatch:
    """Makes every step of the input a tensor of its own in the graph.

    Args:
        plan: Which tensor it is; None for none.
    """

    def __init__(self, plan: InputPlan | None) -> None:
        self._plan = plan
        self._steps: list[Tensor] = []

    def prepared(self, inputs: Any) -> Any:
        """The arguments to call the model with."""
        if self._plan is None or self._plan.module is not None:
            return inputs
        floating = [tensor for _, tensor in tensors_of("inputs", inputs) if tensor.is_floating_point()]
        followed = floating[self._plan.place]
        return _replaced(inputs, followed, self._split(followed))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """The model runs inside."""
        if self._plan is None or self._plan.module is None:
            yield
            return

        def hook(module: nn.Module, arguments: Any, output: Tensor) -> Tensor | None:
            return None if self._steps else self._split(output)

        handle = self._plan.module.register_forward_hook(hook)
        try:
            yield
        finally:
            handle.remove()

    def loops(self) -> list[Loop]:
        """The input as a loop without weights whose steps do not lead to one another."""
        if not self._steps:
            return []
        return [Loop(INPUTS, {INPUT_STATE: [None, *self._steps]}, {}, {}, {}, INPUTS)]

    def _split(self, value: Tensor) -> Tensor:
        assert self._plan is not None
        self._steps = list(value.detach().requires_grad_().unbind(self._plan.axis))
        return torch.stack(self._steps, self._plan.axis)


def _axis(shape: tuple[int, ...], losses: int, time_axis: int | None) -> int:
    if time_axis is not None:
        if not -len(shape) <= time_axis < len(shape):
            raise ExaminationError(f"time_axis: the input has the shape {shape}, found {time_axis}")
        return time_axis % len(shape)
    fitting = [axis for axis, size in enumerate(shape) if size == losses] if losses > 1 else []
    if len(fitting) != 1:
        why = "the loss is a scalar"
        if losses > 1:
            why = f"{len(fitting)} of its axes have the length {losses}, as many as there are losses"
        raise ExaminationError(
            f"time_axis: the input has the shape {shape}; {why}. Say which axis is time, for example time_axis=0"
        )
    return fitting[0]


def _replaced(value: Any, old: Tensor, new: Tensor) -> Any:
    if value is old:
        return new
    if isinstance(value, Mapping):
        return {key: _replaced(item, old, new) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_replaced(item, old, new) for item in value))
    if isinstance(value, tuple | list):
        return type(value)(_replaced(item, old, new) for item in value)
    return value
