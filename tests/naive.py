"""Hand-unrolled twins of recurrent layers, differentiated by plain autograd: what every result is compared with.

Written from torch's documentation of nn.RNN, nn.GRU and nn.LSTM, not from the package under test. Every step has its
own copy of every weight, so that the gradient with respect to a copy is one weight term.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


def step(kind: str, weights: dict[str, Tensor], x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    a = x @ weights["weight_ih"].T + weights.get("bias_ih", 0)
    u = h @ weights["weight_hh"].T + weights.get("bias_hh", 0)
    if kind in ("tanh", "relu"):
        h = getattr(torch, kind)(a + u)
        return h, h
    if kind == "gru":
        (ar, az, an), (ur, uz, un) = a.chunk(3, -1), u.chunk(3, -1)
        r, z = torch.sigmoid(ar + ur), torch.sigmoid(az + uz)
        h = (1 - z) * torch.tanh(an + r * un) + z * h
        return h, h
    if kind == "gated":
        k, w, n = (a + u).chunk(3, -1)
        h = torch.sigmoid(k) * h + torch.sigmoid(w) * torch.tanh(n)
        return h, h
    i, f, g, o = (a + u).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


@dataclass
class Run:
    """One layer and direction: states in reading order, and per step the copies of the weights."""

    hidden: list[Tensor]
    carried: list[Tensor]
    copies: list[dict[str, Tensor]]


def run(kind: str, module: nn.Module, suffix: str, sequence: list[Tensor], h: Tensor, c: Tensor) -> Run:
    names = [n for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if hasattr(module, n + suffix)]
    states = Run([h], [c], [])
    for x in sequence:
        copies = {n: getattr(module, n + suffix).detach().clone().requires_grad_() for n in names}
        h, c = step(kind, copies, x, h, c)
        states.hidden.append(h)
        states.carried.append(c)
        states.copies.append(copies)
    return states


def kind_of(module: nn.Module) -> str:
    name = type(module).__name__.lower()
    return module.nonlinearity if name == "rnn" else name


def layer(module: nn.Module, sequence: list[Tensor], batch: int) -> tuple[list[Tensor], dict[str, Run]]:
    """All layers and directions of a module over (batch, features) steps; runs by "l0", "l0.reverse", ..."""
    runs: dict[str, Run] = {}
    for index in range(module.num_layers):
        outputs = []
        for reverse in range(1 + module.bidirectional):
            zeros = [torch.zeros(batch, module.hidden_size, dtype=sequence[0].dtype).requires_grad_() for _ in "hc"]
            read = sequence[::-1] if reverse else sequence
            states = run(kind_of(module), module, f"_l{index}" + "_reverse" * reverse, read, *zeros)
            runs[f"l{index}" + ".reverse" * reverse] = states
            outputs.append(states.hidden[:0:-1] if reverse else states.hidden[1:])
        sequence = [torch.cat(parts, -1) for parts in zip(*outputs, strict=True)]
    return sequence, runs


def ln_norm(gradient: Tensor | None) -> float:
    """ln sqrt(mean over the batch of the squared norm)."""
    if gradient is None:
        return -torch.inf
    return float(gradient.square().sum(-1).mean().log() / 2)


def gradient_map(losses: list[Tensor], states: list[Tensor]) -> Tensor:
    """(loss_step, state in reading order)."""
    rows = []
    for loss in losses:
        gradients = torch.autograd.grad(loss, states, retain_graph=True, allow_unused=True)
        rows.append([ln_norm(gradient) for gradient in gradients])
    return torch.tensor(rows, dtype=torch.float64)


def weight_terms(losses: list[Tensor], states: Run, name: str) -> Tensor:
    """(loss_step, step in reading order, *shape of the weight)."""
    copies = [copy[name] for copy in states.copies]
    rows = []
    for loss in losses:
        gradients = torch.autograd.grad(loss, copies, retain_graph=True, allow_unused=True)
        rows.append(torch.stack([torch.zeros_like(copies[0]) if g is None else g for g in gradients]))
    return torch.stack(rows)


class Unrolled(nn.Module):
    """Takes the place of a recurrent module in a model, and keeps its runs."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.calls = module, []

    def forward(self, inputs: Tensor, hx=None):
        module = self.module
        batched = inputs.dim() == 3
        sequence = inputs if batched else inputs.unsqueeze(1)
        sequence = sequence.transpose(0, 1) if batched and module.batch_first else sequence
        steps, runs, last = list(sequence.unbind(0)), {}, []
        kind = kind_of(module)
        for index in range(module.num_layers):
            outputs = []
            for reverse in range(1 + module.bidirectional):
                if hx is None:
                    shape = sequence.shape[1], module.hidden_size
                    start = [torch.zeros(shape, dtype=sequence.dtype).requires_grad_() for _ in "hc"]
                else:
                    given = hx if isinstance(hx, tuple) else (hx, hx)
                    start = [(s if batched else s.unsqueeze(1))[len(last)] for s in given]
                states = run(kind, module, f"_l{index}" + "_reverse" * reverse, steps[:: -1 if reverse else 1], *start)
                runs[f"l{index}" + ".reverse" * reverse] = states
                outputs.append(states.hidden[:0:-1] if reverse else states.hidden[1:])
                last.append((states.hidden[-1], states.carried[-1]))
            steps = [torch.cat(parts, -1) for parts in zip(*outputs, strict=True)]
        self.calls.append(runs)
        h, c = (torch.stack(states) for states in zip(*last, strict=True))
        output = torch.stack(steps)
        if not batched:
            output, h, c = output.squeeze(1), h.squeeze(1), c.squeeze(1)
        elif module.batch_first:
            output = output.transpose(0, 1)
        return output, ((h, c) if kind == "lstm" else h)
