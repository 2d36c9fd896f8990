"""What a user would otherwise do for the map of gradients: torch's own two ways."""

import torch
from torch import Tensor

from benchmarks.network import Network, ln_rms


def passes(network: Network) -> Tensor:
    """One pass of torch.autograd.grad per loss over an unrolled loop."""
    states, losses = network.unrolled()
    rows = []
    for loss in losses:
        found = torch.autograd.grad(loss, states, retain_graph=True, allow_unused=True)
        reached = [g for g in found if g is not None]
        row = ln_rms(torch.stack(reached))
        rows.append(torch.cat([row, row.new_full((len(found) - len(row),), -torch.inf)]))
    return torch.stack(rows)


def batched(network: Network) -> Tensor:
    """All losses at once by is_grads_batched, over the same loop."""
    states, losses = network.unrolled()
    found = torch.autograd.grad(losses, states, torch.eye(len(losses), device=losses.device), is_grads_batched=True)
    return torch.stack([ln_rms(gradient) for gradient in found], dim=1)
