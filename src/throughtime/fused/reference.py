"""The reference: a cell's own equations, step by step, under autograd."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from throughtime.cells import Cell, Named


@dataclass(frozen=True)
class Run:
    """What a recurrence ran through, in the sequence's own order of steps, whichever way it was read.

    Args:
        steps: By state name, the states that steps 1 .. T led to, (time, batch, hidden); zero past a sample's end.
        last: By state name, the states after the last step that was read of each sample, (batch, hidden).
    """

    steps: Named
    last: Named


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
    states, steps = dict(initial), []
    units = {name: weights[f"weight_{name}"] for name in cell.units}
    input_pre = functional.linear(sequence, weights["weight_ih"], weights.get("bias_ih"))
    read = None if lengths is None else _read(lengths, input_pre)
    if resets is not None and read is not None:
        resets = resets & read
    # unbind: indexing input_pre[t] inside the loop would make the backward pass quadratic in T.
    order = list(enumerate(input_pre.unbind(0)))
    for step, x in reversed(order) if reverse else order:
        if resets is not None:
            states = _where(~resets[step], states, dict.fromkeys(states, input_pre.new_zeros(())))
        before = states[cell.carried]
        u = cell.recurrent_pre(states["h"], before, weights.get("weight_hh"), weights.get("bias_hh"))
        hidden, carried = cell.reference_step(x, u, before, units)
        new = {"h": hidden, cell.carried: carried}
        states = new if read is None else _where(read[step], new, states)
        steps.append(states)
    in_order = steps[::-1] if reverse else steps
    stacked = {name: torch.stack([step[name] for step in in_order]) for name in cell.states}
    if read is not None:
        stacked = {name: value.masked_fill(~read.unsqueeze(-1), 0) for name, value in stacked.items()}
    return Run(stacked, {name: states[name] for name in cell.states})


def _read(lengths: Tensor, sequence: Tensor) -> Bool[Tensor, "time batch"]:
    steps = torch.arange(len(sequence), device=sequence.device)
    return steps.unsqueeze(1) < lengths.to(sequence.device)


def _where(condition: Bool[Tensor, " batch"], true: Named, false: Named) -> Named:
    return {name: torch.where(condition.unsqueeze(-1), true[name], false[name]) for name in true}
