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

    def run(self, way: str, given: Mapping[str, Any]) -> None:
        """One way, "forward" or "backward", on what is given by name."""

    def product(self, left: Tensor, right: Tensor) -> Tensor:
        """Of two matrices, after the loop."""


def by_kernel(
    cell: Cell,
    input_pre: Tensor,
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
    tensors = [input_pre, *(weights[name] for name in names), *states]
    needed = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    found = _ByKernel.apply(
        _Task(cell, kernel or kernel_for(cell, input_pre), names, lengths, resets, reverse, needed), *tensors
    )
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
        reverse: As for `by_kernel`.
        differentiated: Whether there may be a way back.
    """

    cell: Cell
    kernel: AnyKernel
    names: tuple[str, ...]
    lengths: Tensor | None
    resets: Tensor | None
    reverse: bool
    differentiated: bool

    def order(self, input_pre: Tensor) -> dict[str, Any]:
        """In which order which steps are read."""
        steps, batch = input_pre.shape[:2]
        device = input_pre.device
        lengths = torch.full((batch,), steps, device=device) if self.lengths is None else self.lengths.to(device)
        nowhere = torch.zeros(steps, batch, dtype=torch.bool, device=device)
        resets = nowhere if self.resets is None else self.resets.to(device)
        return {"reverse": self.reverse, "lengths": lengths, "resets": resets}

    def split(self, tensors: tuple[Tensor, ...]) -> tuple[Named, Named]:
        """The weights by name and the initial states by name, from all tensors but the first."""
        return (
            dict(zip(self.names, tensors, strict=False)),
            dict(zip(self.cell.states, tensors[len(self.names) :], strict=False)),
        )


class _ByKernel(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, task: _Task, input_pre: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        cell, computation = task.cell, task.kernel.computation
        weights, initial = task.split(tensors)
        steps, batch = input_pre.shape[:2]
        kept = steps if task.differentiated else 1
        units = input_pre.shape[-1] // len(cell.gates)
        last = {state: initial[state].clone(memory_format=torch.contiguous_format) for state in cell.states}
        before = {f"{state}_before": input_pre.new_empty(kept, batch, units) for state in computation.saved}
        every = {f"{state}_steps": input_pre.new_empty(steps, batch, units) for state in cell.states}
        given = {"keeping": task.differentiated, "x": input_pre, **weights, **last, **before, **every}
        if computation.recurrent:
            rows = len(weights["weight_hh"])
            given["u"] = input_pre.new_empty(kept, batch, rows)
            given["weight_hh"] = weights["weight_hh"].t()
            given.setdefault("bias_hh", input_pre.new_zeros(rows))
        task.kernel.run("forward", task.order(input_pre) | given)
        ctx.task = task
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(input_pre, *tensors, *before.values(), *([given["u"]] if computation.recurrent else []))
        return *every.values(), *last.values()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        task: _Task = ctx.task
        # Taken once: under a checkpoint they are there once only.
        saved = ctx.saved_tensors
        inputs = saved[: 1 + len(task.names) + len(task.cell.states)]
        if torch.is_grad_enabled() or any(grad is not None and is_several(grad) for grad in grads):
            return None, *_through_reference(task, inputs, ctx.needs_input_grad[1:], grads)
        return None, *_through_kernel(task, inputs, saved[len(inputs) :], ctx.needs_input_grad[1:], grads)


def _through_kernel(
    task: _Task,
    inputs: tuple[Tensor, ...],
    saved: tuple[Tensor, ...],
    needed: tuple[bool, ...],
    grads: tuple[Tensor | None, ...],
) -> list[Tensor | None]:
    """The gradients at the inputs, from those at the states of all steps and at the last ones."""
    cell, computation, input_pre = task.cell, task.kernel.computation, inputs[0]
    weights, initial = task.split(inputs[1:])
    batch, count = input_pre.shape[1], len(cell.states)
    before = dict(zip((f"{state}_before" for state in computation.saved), saved, strict=False))
    given: dict[str, Any] = {
        "x": input_pre,
        **weights,
        **before,
        "grad_x": torch.empty_like(input_pre, memory_format=torch.contiguous_format),
    }
    for state, of_steps, of_last in zip(cell.states, grads[:count], grads[count:], strict=True):
        zeros = input_pre.new_zeros(initial[state].shape)
        given[f"grad_{state}_steps"] = zeros.unsqueeze(0) if of_steps is None else of_steps
        given[f"adjoint_{state}"] = (
            zeros.clone() if of_last is None else of_last.clone(memory_format=torch.contiguous_format)
        )
    if computation.recurrent:
        given["u"] = saved[-1]
        given["grad_u"] = torch.empty_like(saved[-1]) if computation.distinct else given["grad_x"]
    by_sample = [f"weight_{name}" for name in cell.units] + (["weight_hh"] if computation.entered else [])
    given |= {f"grad_{name}": input_pre.new_zeros(batch, len(weights[name])) for name in by_sample}
    task.kernel.run("backward", task.order(input_pre) | given)
    found: list[Tensor | None] = [given["grad_x"]]
    for name, wanted in zip(task.names, needed[1:], strict=False):
        if not wanted:
            found.append(None)
        elif name in by_sample:
            found.append(given[f"grad_{name}"].sum(0))
        elif name == "bias_hh":
            found.append(given["grad_u"].sum((0, 1)))
        else:
            found.append(task.kernel.product(given["grad_u"].flatten(0, 1).t(), given["h_before"].flatten(0, 1)))
    return found + [given[f"adjoint_{state}"] for state in cell.states]


def _through_reference(
    task: _Task, inputs: tuple[Tensor, ...], needed: tuple[bool, ...], grads: tuple[Tensor | None, ...]
) -> list[Tensor | None]:
    """The same by the equations themselves, differentiable where that is asked for."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # Of a tensor that is given twice, each has a gradient of its own here.
        inputs = tuple(one.view_as(one) if again else one.detach().requires_grad_() for one in inputs)
        weights, initial = task.split(inputs[1:])
        found = reference(task.cell, inputs[0], weights, initial, task.lengths, task.resets, task.reverse)
    return through_graph([*found.steps.values(), *found.last.values()], grads, inputs, needed, again)


def _weight_names(cell: Cell) -> tuple[str, ...]:
    return "weight_hh", "bias_hh", *(f"weight_{name}" for name in cell.units)
