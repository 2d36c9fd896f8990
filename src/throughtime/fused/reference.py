"""The reference: a cell's own equations, step by step, under autograd."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from throughtime.cells import Cell, Named


@dataclass(frozen=True)
class Step:
    """One step of a recurrence.

    Args:
        entered: By state name, what the step started from: what the one before led to, or zeros.
        recurrent_pre: W_hh h_{t-1} + b_hh.
        output: What the cell gives, before it is projected; zero where a sample rests.
        left: By state name, what the step led to; where a sample rests, the states in which it does.
    """

    entered: Named
    recurrent_pre: Float[Tensor, "batch gates_hidden"]
    output: Float[Tensor, "batch hidden"]
    left: Named


@dataclass(frozen=True)
class Run:
    """What a recurrence ran through, in the sequence's own order of steps, whichever way it was read.

    Args:
        steps: By state name, the states that steps 1 .. T led to, (time, batch, hidden); zero past a sample's end.
        last: By state name, the states after the last step that was read of each sample, (batch, hidden).
    """

    steps: Named
    last: Named


def stepped(
    cell: Cell,
    input_pre: Float[Tensor, "time batch gates_hidden"],
    weights: Named,
    initial: Named,
    running: Bool[Tensor, "time batch"] | None = None,
    restarts: Bool[Tensor, "time batch"] | None = None,
) -> Iterator[Step]:
    """The steps of a recurrence, in the order in which it is read.

    Args:
        cell: The equations.
        input_pre: W_ih x_t + b_ih.
        weights: By torch's name; with a weight_hr, h is the output projected.
        initial: By state name, s_0 of shape (batch, hidden), h_0 of (batch, projected).
        running: Where a sample is read at all; elsewhere it rests at its state. None for everywhere.
        restarts: Where a step starts from zeros, whatever came before. None for nowhere.
    """
    left, projection = dict(initial), weights.get("weight_hr")
    units = {name: weights[f"weight_{name}"] for name in cell.units}
    reads, resets = (_by_step(mask, len(input_pre)) for mask in (running, restarts))
    # unbind: indexing input_pre[t] inside the loop would make the backward pass quadratic in T.
    for x, read, reset in zip(input_pre.unbind(0), reads, resets, strict=True):
        entered = left if reset is None else {name: state.masked_fill(reset, 0) for name, state in left.items()}
        u = cell.recurrent_pre(entered["h"], entered[cell.carried], weights.get("weight_hh"), weights.get("bias_hh"))
        output, carried = cell.reference_step(x, u, entered[cell.carried], units)
        hidden = output if projection is None else functional.linear(output, projection)
        new = {"h": hidden, cell.carried: carried}
        if read is not None:
            new = {name: torch.where(read, state, left[name]) for name, state in new.items()}
            output = output * read
        left = new
        yield Step(entered, u, output, left)


def reference(
    cell: Cell,
    sequence: Float[Tensor, "time batch input"],
    weights: Named,
    initial: Named,
    lengths: Int[Tensor, " batch"] | None = None,
    resets: Bool[Tensor, "time batch"] | None = None,
    reverse: bool = False,
) -> Run:
    """Run the equations over a sequence, differentiable any number of times; arguments as for `fused.run`."""
    input_pre = functional.linear(sequence, weights["weight_ih"], weights.get("bias_ih"))
    read = None if lengths is None else _read(lengths, input_pre)
    if resets is not None and read is not None:
        resets = resets & read
    if reverse:
        input_pre = input_pre.flip(0)
    running, restarts = (mask.flip(0) if reverse and mask is not None else mask for mask in (read, resets))
    steps = [step.left for step in stepped(cell, input_pre, weights, initial, running, restarts)]
    in_order = steps[::-1] if reverse else steps
    stacked = {name: torch.stack([step[name] for step in in_order]) for name in cell.states}
    if read is not None:
        stacked = {name: value.masked_fill(~read.unsqueeze(-1), 0) for name, value in stacked.items()}
    last = steps[-1] if steps else initial
    return Run(stacked, {name: last[name] for name in cell.states})


def _read(lengths: Tensor, sequence: Tensor) -> Bool[Tensor, "time batch"]:
    steps = torch.arange(len(sequence), device=sequence.device)
    return steps.unsqueeze(1) < lengths.to(sequence.device)


def _by_step(mask: Bool[Tensor, "time batch"] | None, steps: int) -> Sequence[Tensor | None]:
    return [None] * steps if mask is None else mask.unsqueeze(-1).unbind(0)
