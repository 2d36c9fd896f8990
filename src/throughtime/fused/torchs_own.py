"""torch's own layers (oneDNN on a CPU, cuDNN on a GPU), for the cells whose equations they run."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.cells import GRU, LSTM, RNN, Cell, Named
from throughtime.fused.gradients import is_several, through_graph
from throughtime.fused.reference import Run, reference

WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def torchs_own(
    cell: Cell,
    inputs: Float[Tensor, "time batch input"],
    weights: Named,
    initial: Named,
    *,
    reverse: bool = False,
    training: bool = False,
) -> Run:
    """Run one layer in one direction by torch's own function.

    Args:
        cell: One of which `throughtime.cells.is_torchs` is true.
        inputs: x_1 .. x_T.
        weights: By torch's name without a suffix; both biases or none.
        initial: By state name, the state before the first step that is read, (batch, hidden).
        reverse: Whether the sequence is read from its last step to its first.
        training: Whether a backward pass may follow.

    Returns:
        As from `throughtime.fused.run`; of an LSTM's c only the last one, which is all that torch tells. cuDNN has no
        derivatives of derivatives: on a GPU these are the reference's.
    """
    names = tuple(name for name in WEIGHTS if name in weights)
    task = _Task(cell, names, reverse, training)
    tensors = (inputs, *(weights[name] for name in names), *(initial[name] for name in cell.states))
    steps, *last = (
        _call(task, tensors) if _derives_twice(inputs) or not training else _DerivedOnce.apply(task, *tensors)
    )
    return Run({"h": steps}, dict(zip(cell.states, last, strict=True)))


def torchs_function(cell: Cell) -> Any:
    """What torch runs a layer of one of its cells with."""
    if isinstance(cell, RNN):
        return torch.rnn_tanh if cell.nonlinearity == "tanh" else torch.rnn_relu
    return {LSTM: torch.lstm, GRU: torch.gru}[type(cell)]


@dataclass(frozen=True)
class _Task:
    """What is run, but for the tensors: inputs, weights of these names, and initial states."""

    cell: Cell
    names: tuple[str, ...]
    reverse: bool
    training: bool


def _derives_twice(inputs: Tensor) -> bool:
    return inputs.device.type == "cpu"


def _call(task: _Task, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The hidden states of all steps, and the last states."""
    inputs, weights, states = tensors[0], tensors[1 : 1 + len(task.names)], tensors[1 + len(task.names) :]
    read = inputs.flip(0) if task.reverse else inputs
    hx = [state.unsqueeze(0) for state in states]
    with warnings.catch_warnings():
        # cuDNN copies weights that lie apart at every call, and says so.
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")
        output, *last = torchs_function(task.cell)(
            read, hx if len(hx) > 1 else hx[0], list(weights), len(weights) == 4, 1, 0.0, task.training, False, False
        )
    return (output.flip(0) if task.reverse else output), *(state.squeeze(0) for state in last)


class _DerivedOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, task: _Task, *tensors: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            inside = tuple(one.detach().requires_grad_() for one in tensors)
            outputs = _call(task, inside)
        ctx.task, ctx.inside, ctx.outputs = task, inside, outputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        return tuple(one.detach() for one in outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Any, ...]:
        again = torch.is_grad_enabled()
        inside, outputs = ctx.inside, ctx.outputs
        if again or any(grad is not None and is_several(grad) for grad in grads):
            with torch.enable_grad():
                inside = tuple(one.view_as(one) for one in (ctx.saved_tensors if again else inside))
                outputs = _by_reference(ctx.task, inside)
        return None, *through_graph(outputs, grads, inside, ctx.needs_input_grad[1:], again)


def _by_reference(task: _Task, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    weights = dict(zip(task.names, tensors[1:], strict=False))
    initial = dict(zip(task.cell.states, tensors[1 + len(task.names) :], strict=True))
    found = reference(task.cell, tensors[0], weights, initial, reverse=task.reverse)
    return found.steps["h"], *found.last.values()
