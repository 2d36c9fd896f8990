"""Gradients that are several at once, which neither a kernel nor torch's own layers can take."""

import torch
from torch import Tensor


def is_several(grad: Tensor) -> bool:
    """Whether it stands for several gradients at once, as `is_grads_batched` and `torch.func.vmap` have it."""
    return torch._C._functorch.is_batchedtensor(grad) or torch._C._functorch.is_legacy_batchedtensor(grad)
