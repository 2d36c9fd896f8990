"""Gradients through a graph of torch's own, within the backward pass of a function that has none."""

from collections.abc import Sequence

import torch
from torch import Tensor


def is_several(grad: Tensor) -> bool:
    """Whether it stands for several gradients at once, as `is_grads_batched` and `torch.func.vmap` have it."""
    return torch._C._functorch.is_batchedtensor(grad) or torch._C._functorch.is_legacy_batchedtensor(grad)


def through_graph(
    outputs: Sequence[Tensor],
    grads: Sequence[Tensor | None],
    inputs: Sequence[Tensor],
    needed: Sequence[bool],
    again: bool,
) -> list[Tensor | None]:
    """The gradients at those inputs that need one, from those at the outputs.

    Args:
        outputs: Made of the inputs under autograd.
        grads: At the outputs; None where there is none.
        inputs: What is differentiated.
        needed: Of every input, whether its gradient is needed.
        again: Whether the gradients are to be differentiable themselves.
    """
    pairs = [(output, grad) for output, grad in zip(outputs, grads, strict=True) if grad is not None]
    found = iter(
        torch.autograd.grad(
            [output for output, _ in pairs],
            [one for one, is_needed in zip(inputs, needed, strict=True) if is_needed],
            [grad for _, grad in pairs],
            create_graph=again,
            retain_graph=True,
            allow_unused=True,
        )
    )
    return [next(found) if is_needed else None for is_needed in needed]
