"""The product of all steps with the input weights, beside a kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from throughtime.compiled import matrix_product
from throughtime.fused.gradients import is_several


def linear(sequence: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """torch.nn.functional.linear, by the compiled product where the kernel is compiled too.

    Args:
        sequence: (time, batch, features); on a GPU, torch multiplies.
        weight: (outputs, features)
        bias: (outputs,)

    Returns:
        (time, batch, outputs)
    """
    if sequence.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return functional.linear(sequence, weight, bias)
    return _Linear.apply(sequence, weight, bias)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, sequence: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(sequence, weight)
        return matrix_product(sequence.flatten(0, 1), weight.t(), bias).unflatten(0, sequence.shape[:2])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        sequence, weight = ctx.saved_tensors
        # Where the gradients are to be differentiated in turn, or there are several at once, torch multiplies.
        multiplied = torch.matmul if torch.is_grad_enabled() or is_several(grad) else matrix_product
        of_sequence, of_weight, of_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])
        return (
            multiplied(rows, weight).reshape(sequence.shape) if of_sequence else None,
            multiplied(rows.t(), sequence.flatten(0, 1)) if of_weight else None,
            rows.sum(0) if of_bias else None,
        )
