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
    h = torch.sigmoid(o) * torch.tanh(c)
    return (h @ weights["weight_hr"].T if "weight_hr" in weights else h), c


@dataclass
class Run:
    """One layer and direction: states in reading order, and per step the copies of the weights."""

    hidden: list[Tensor]
    carried: list[Tensor]
    copies: list[dict[str, Tensor]]


def run(kind: str, module: nn.Module, suffix: str, sequence: list[Tensor], h: Tensor, c: Tensor) -> Run:
    names = [n for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr") if hasattr(module, n + suffix)]
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


def sizes(module: nn.Module) -> tuple[int, int]:
    """Features of h and of c."""
    return getattr(module, "proj_size", 0) or module.hidden_size, module.hidden_size


@dataclass
class Layers:
    """All layers and directions: the outputs by step, the runs by "l0", "l0.reverse", ..., the last (h, c) of each."""

    outputs: list[Tensor]
    runs: dict[str, Run]
    last: list[tuple[Tensor, Tensor]]


def layers(module: nn.Module, sequence: list[Tensor], start=None, masks=()) -> Layers:
    """A module over (batch, features) steps.

    Args:
        module: The module.
        sequence: The steps.
        start: h_0 and c_0 by layer and direction; zeros by default.
        masks: By layer, what dropout multiplies its outputs with, by step.
    """
    found = Layers(sequence, {}, [])
    for index in range(module.num_layers):
        outputs = []
        for reverse in range(1 + module.bidirectional):
            zeros = [torch.zeros(len(sequence[0]), n, dtype=sequence[0].dtype).requires_grad_() for n in sizes(module)]
            initial = zeros if start is None else start[len(found.last)]
            read = found.outputs[::-1] if reverse else found.outputs
            states = run(kind_of(module), module, f"_l{index}" + "_reverse" * reverse, read, *initial)
            found.runs[f"l{index}" + ".reverse" * reverse] = states
            found.last.append((states.hidden[-1], states.carried[-1]))
            outputs.append(states.hidden[:0:-1] if reverse else states.hidden[1:])
        found.outputs = [torch.cat(parts, -1) for parts in zip(*outputs, strict=True)]
        if index < len(masks):
            found.outputs = [output * mask for output, mask in zip(found.outputs, masks[index], strict=True)]
    return found


def gradients(losses: list[Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """For every tensor, (loss, *shape of the tensor)."""
    rows = [torch.autograd.grad(loss, tensors, retain_graph=True, materialize_grads=True) for loss in losses]
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def gradient_map(losses: list[Tensor], states: list[Tensor]) -> Tensor:
    """ln sqrt(mean over the batch of the squared norm), (loss_step, state in reading order)."""
    return torch.stack(gradients(losses, states), 1).double().square().sum(-1).mean(-1).log() / 2


def weight_terms(losses: list[Tensor], states: Run, name: str) -> Tensor:
    """(loss_step, step in reading order, *shape of the weight)."""
    return torch.stack(gradients(losses, [copy[name] for copy in states.copies]), 1)


def terms_by_sample(module: nn.Module, inputs: Tensor, read) -> Tensor:
    """(sample, loss_step, step, all weights in a row): the weight terms of a layer, every sample by itself.

    Args:
        module: One layer.
        inputs: (time, batch, features).
        read: From the outputs to one loss per step.
    """
    found = []
    for sample in range(inputs.shape[1]):
        unrolled = layers(module, list(inputs[:, [sample]].unbind(0)))
        losses = list(read(torch.stack(unrolled.outputs)).unbind(0))
        run = unrolled.runs["l0"]
        found.append(torch.cat([weight_terms(losses, run, name).flatten(2) for name in run.copies[0]], -1))
    return torch.stack(found)


def gradients_by_sample(module: nn.Module, inputs: Tensor, read) -> Tensor:
    """(distance |t - i|, sample, all weights in a row): the same, summed over all pairs at a distance."""
    steps, terms = torch.arange(len(inputs)), terms_by_sample(module, inputs, read)
    distance = (steps[:, None] - steps).abs()
    return torch.stack([terms[:, distance == k].sum(1) for k in steps.tolist()])


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
        start = None
        if hx is not None:
            given = hx if isinstance(hx, tuple) else (hx, hx)
            start = list(zip(*(state if batched else state.unsqueeze(1) for state in given), strict=True))
        found = layers(module, list(sequence.unbind(0)), start)
        self.calls.append(found.runs)
        h, c = (torch.stack(states) for states in zip(*found.last, strict=True))
        output = torch.stack(found.outputs)
        if not batched:
            output, h, c = output.squeeze(1), h.squeeze(1), c.squeeze(1)
        elif module.batch_first:
            output = output.transpose(0, 1)
        return output, ((h, c) if kind_of(module) == "lstm" else h)
