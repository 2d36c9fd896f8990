"""A cell's kernel under autograd, whatever it is written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from throughtime.cells import Cell, Named
from throughtime.fused.computation import Computation
from throughtime.fused.executor import kernel_for
from throughtime.fused.gradients import is_several, through_graph
from throughtime.fused.reference import Run, reference


class AnyKernel(Protocol):
    """What runs a cell over a whole sequence."""

    computation: Computation
    apart: tuple[str, ...]

    def forward(self, given: Mapping[str, Any]) -> None:
        """Fill the states, and what the way back needs, on what is given by name."""

    def backward(self, given: Mapping[str, Any], of_sequence: bool) -> dict[str, Tensor]:
        """The gradients at the weights, and at the sequence where that is asked for; those at the states in place."""


def by_kernel(
    cell: Cell,
    sequence: Tensor,
    weights: Named,
    initial: Named,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    reverse: bool = False,
    kernel: AnyKernel | None = None,
) -> Run:
    """Run a cell's kernel; arguments as for `fused.run`, and which kernel, if not the one of the sequence's device.

    Derivatives of derivatives are those of the reference, which `backward` runs again where it is called with
    `create_graph=True`, or for several gradients at once (`is_grads_batched`).
    """
    states = [initial[name] for name in cell.states]
    names = tuple(name for name in _weight_names(cell) if name in weights)
    tensors = [sequence, *(weights[name] for name in names), *states]
    needed = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    # Copies: what the caller does with theirs must not reach the way back.
    lengths, resets = (None if one is None else one.to(sequence.device, copy=True) for one in (lengths, resets))
    order = {"reverse": reverse, **_read(sequence, lengths, resets)}
    shapes = tuple(tensor.shape for tensor in tensors)
    task = _Task(cell, kernel or kernel_for(cell, sequence), names, lengths, resets, order, needed, shapes)
    found = _ByKernel.apply(task, *tensors)
    count = len(cell.states)
    return Run(dict(zip(cell.states, found[:count], strict=True)), dict(zip(cell.states, found[count:], strict=True)))


@dataclass(frozen=True)
class _Task:
    """What is run, but for the tensors that are differentiated.

    Args:
        cell: The equations.
        kernel: What runs them.
        names: Of the weights that are given.
        lengths: As for `by_kernel`.
        resets: As for `by_kernel`.
        order: In which order which steps are read, as a kernel is told.
        differentiated: Whether there may be a way back.
        shapes: Of the tensors that are differentiated.
    """

    cell: Cell
    kernel: AnyKernel
    names: tuple[str, ...]
    lengths: Tensor | None
    resets: Tensor | None
    order: Mapping[str, Any]
    differentiated: bool
    shapes: tuple[torch.Size, ...]

    def split(self, tensors: tuple[Tensor, ...]) -> tuple[Named, Named]:
        """The weights by name and the initial states by name, from all tensors but the first."""
        return (
            dict(zip(self.names, tensors, strict=False)),
            dict(zip(self.cell.states, tensors[len(self.names) :], strict=False)),
        )


class _ByKernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, task: _Task, sequence: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        cell, computation = task.cell, task.kernel.computation
        weights, initial = task.split(tensors)
        (steps, batch), rows = sequence.shape[:2], len(weights["weight_ih"])
        kept, units = steps if task.differentiated else 1, rows // len(cell.gates)
        last = {state: initial[state].clone(memory_format=torch.contiguous_format) for state in cell.states}
        every = {f"{state}_steps": sequence.new_empty(steps, batch, units) for state in cell.states}
        left = {f"{state}_before": sequence.new_empty(kept, batch, units) for state in computation.saved}
        apart = len(task.kernel.apart)
        left |= {"x": sequence.new_empty(kept, batch, apart * units)} if apart else {}
        left |= {"u": sequence.new_empty(kept, batch, len(weights["weight_hh"]))} if computation.recurrent else {}
        given = {"sequence": sequence, "keeping": task.differentiated, **_whole(weights), **last, **left, **every}
        task.kernel.forward({**task.order, **given})
        ctx.task, ctx.left = task, tuple(left)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(sequence, *tensors, *left.values())
        return *every.values(), *last.values()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        task: _Task = ctx.task
        # Taken once: under a checkpoint they are there once only.
        saved = ctx.saved_tensors
        inputs = saved[: 1 + len(task.names) + len(task.cell.states)]
        if task.shapes != tuple(one.shape for one in inputs):
            raise RuntimeError(
                "the data of an input or a weight of a recurrent layer was replaced, by one of another shape, between "
                "its forward and its backward pass; replace it after the backward pass"
            )
        if torch.is_grad_enabled() or any(grad is not None and is_several(grad) for grad in grads):
            return None, *_through_reference(task, inputs, ctx.needs_input_grad[1:], grads)
        left = dict(zip(ctx.left, saved[len(inputs) :], strict=True))
        return None, *_through_kernel(task, inputs, left, ctx.needs_input_grad[1:], grads)


def _whole(weights: Named) -> Named:
    """With zeros for a bias that is left out."""
    products = [which for which in ("ih", "hh") if f"weight_{which}" in weights]
    left_out = [which for which in products if f"bias_{which}" not in weights]
    zeros = {f"bias_{one}": weights[f"weight_{one}"].new_zeros(len(weights[f"weight_{one}"])) for one in left_out}
    return {**weights, **zeros}


def _through_kernel(
    task: _Task, inputs: tuple[Tensor, ...], left: Named, needed: tuple[bool, ...], grads: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """The gradients at the inputs, from those at the states of all steps and at the last ones."""
    cell, sequence = task.cell, inputs[0]
    weights, initial = task.split(inputs[1:])
    count, batch = len(cell.states), sequence.shape[1]
    given: dict[str, Any] = {"sequence": sequence, **_whole(weights), **left}
    for state, of_steps, of_last in zip(cell.states, grads[:count], grads[count:], strict=True):
        zeros = sequence.new_zeros(batch, initial[state].shape[-1])
        grad = zeros.unsqueeze(0) if of_steps is None else of_steps
        # The same of all steps, as that of a sum over time is, is given once.
        given[f"grad_{state}_steps"] = grad[:1] if grad.stride(0) == 0 else grad
        given[f"adjoint_{state}"] = (
            zeros.clone() if of_last is None else of_last.clone(memory_format=torch.contiguous_format)
        )
    found = task.kernel.backward({**task.order, **given}, of_sequence=needed[0])
    found |= {state: given[f"adjoint_{state}"] for state in cell.states}
    names = ("sequence", *task.names, *cell.states)
    return [found[name] if wanted else None for name, wanted in zip(names, needed, strict=True)]


def _through_reference(
    task: _Task, inputs: tuple[Tensor, ...], needed: tuple[bool, ...], grads: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """The same by the equations themselves, differentiable where that is asked for."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Of a tensor that is given twice, each has a gradient of its own here.
        inputs = tuple(one.view_as(one) if again else one.detach().requires_grad_() for one in inputs)
        weights, initial = task.split(inputs[1:])
        found = reference(task.cell, inputs[0], weights, initial, task.lengths, task.resets, task.order["reverse"])
    return through_graph([*found.steps.values(), *found.last.values()], grads, inputs, needed, again)


def _read(sequence: Tensor, lengths: Tensor | None, resets: Tensor | None) -> Named:
    """How many steps of every sample are read, and which of them start from zeros."""
    (steps, batch), device = sequence.shape[:2], sequence.device
    return {
        "lengths": torch.full((batch,), steps, device=device) if lengths is None else lengths,
        "resets": torch.zeros(steps, batch, dtype=torch.bool, device=device) if resets is None else resets,
    }


def _weight_names(cell: Cell) -> tuple[str, ...]:
    return "weight_ih", "bias_ih", "weight_hh", "bias_hh", *(f"weight_{name}" for name in cell.units)
