"""The full T x T map against what a user would otherwise do."""

import torch
from rich.table import Table
from torch import Tensor

from benchmarks.network import Network, ln_rms
from benchmarks.timing import agree, side_by_side
from throughtime.cells import GRU, LSTM, RNN

SETTINGS = ((RNN(), 200, 8, 64), (GRU(), 256, 8, 128), (LSTM(), 200, 8, 64))


def passes(network: Network) -> Tensor:
    """One pass of torch.autograd.grad per loss over an unrolled loop."""
    states, losses = network.unrolled()
    rows = []
    for loss in losses:
        found = torch.autograd.grad(loss, states, retain_graph=True, allow_unused=True)
        rows.append([-torch.inf if g is None else float(ln_rms(g)) for g in found])
    return torch.tensor(rows, dtype=torch.float64)


def batched(network: Network) -> Tensor:
    """All losses at once by is_grads_batched, over the same loop."""
    states, losses = network.unrolled()
    found = torch.autograd.grad(losses, states, torch.eye(len(losses)), is_grads_batched=True)
    return torch.stack([ln_rms(gradient) for gradient in found], dim=1)


def table() -> Table:
    """How many times faster than each."""
    shown = Table(
        "cell", "T", "B", "H", "sweep, s", "autograd, T passes", "is_grads_batched", title="The full gradient map"
    )
    for cell, steps, batch, hidden in SETTINGS:
        network = Network.drawn(cell, steps, batch, hidden)
        expected, ours = passes(network), network.swept(keep=True)
        assert ours is not None
        # Far back, float32 autograd underflows where the sweep does not.
        visible = expected.masked_fill(expected < -60, -torch.inf)
        agree("autograd", ours.masked_fill(visible == -torch.inf, -torch.inf), visible, 1e-2)
        agree("is_grads_batched", batched(network).masked_fill(visible == -torch.inf, -torch.inf), visible, 1e-2)
        runs = {"ours": lambda n=network: n.swept(keep=True), "passes": lambda n=network: passes(n)}
        seconds = side_by_side(runs | {"batched": lambda n=network: batched(n)}, rounds=1)
        ratios = [f"{seconds[name] / seconds['ours']:.0f} x slower" for name in ("passes", "batched")]
        shown.add_row(type(cell).__name__, str(steps), str(batch), str(hidden), f"{seconds['ours']:.2f}", *ratios)
    return shown
