"""A loss that is one number and reads many steps, taken apart into what it sends back through each of them."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from throughtime.capture import Opened, Recurrence, Run


def taken_apart(recurrences: Sequence[Recurrence], loss: Float[Tensor, " 1"]) -> Float[Tensor, " time"] | None:
    """One loss per step, whose gradients add up to that of the only one.

    l_t = <dL/dh_t, h_t> with the direct derivative dL/dh_t held constant, which is what autograd finds, since the graph
    is cut behind every recurrence. Where L is a sum of losses of single steps, it is that of the loss of the step, so
    that nothing is lost but their values: each has the same part of L.

    Args:
        recurrences: All that ran.
        loss: L, on the cut graph.

    Returns:
        None where no sample is read at more than one step, where recurrences of different lengths are read, or where
        one is a loop, whose graph is whole.
    """
    opened = [recurrence for recurrence in recurrences if isinstance(recurrence, Opened)]
    leaves = [leaf for recurrence in opened for run in recurrence.runs for leaf in run.leaves]
    if len(opened) < len(recurrences):
        return None
    found = torch.autograd.grad(loss.sum(), leaves, retain_graph=True, allow_unused=True)
    direct = {id(leaf): one.detach() for leaf, one in zip(leaves, found, strict=True) if one is not None}
    read = [one for one in opened if any(id(leaf) in direct for run in one.runs for leaf in run.leaves)]
    if len({one.steps for one in read}) != 1 or not any((_reads(one, direct).sum(0) > 1).any() for one in read):
        return None
    losses = sum(torch.cat([_by_step(run, direct) for run in one.runs]) for one in read)
    assert isinstance(losses, Tensor), "one recurrence is read at least"
    return losses - losses.detach() + loss.detach() / len(losses)


def _reads(recurrence: Opened, direct: Mapping[int, Tensor]) -> Bool[Tensor, "time batch"]:
    """Which states are read, in the order of the sequence."""
    found = torch.zeros(recurrence.steps, recurrence.batch, dtype=torch.bool)
    for run, offset in zip(recurrence.runs, recurrence.offsets, strict=True):
        if id(run.hidden) in direct:
            found[offset : offset + run.steps, : run.batch] = (direct[id(run.hidden)] != 0).any(-1).cpu()
    return found


def _by_step(run: Run, direct: Mapping[int, Tensor]) -> Float[Tensor, " time"]:
    """What is read of a run at each of its steps, in the order of the sequence; a last state, where its sample ends."""
    hidden, *final = run.leaves
    found = (hidden * direct[id(hidden)]).sum(-1) if id(hidden) in direct else hidden.new_zeros(hidden.shape[:2])
    ends = run.reading.ends(run.steps, run.batch).to(hidden.device)
    last = (run.steps - ends if run.reverse else ends - 1), torch.arange(run.batch, device=hidden.device)
    for state in final:
        if id(state) in direct:
            found = found.index_put(last, (state * direct[id(state)]).sum(-1), accumulate=True)
    return found.sum(1)
