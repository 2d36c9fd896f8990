"""A loss that is one number and reads many steps, taken apart into what it sends back through each of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from throughtime.capture import Loop, Opened, Recurrence, Run
from throughtime.notation import INPUTS


def taken_apart(recurrences: Sequence[Recurrence], loss: Float[Tensor, " 1"]) -> Float[Tensor, " time"] | None:
    """One loss per step, whose gradients add up to that of the only one.

    l_t = <dL/ds_t, s_t> with the direct derivative dL/ds_t held constant, which is what autograd finds where the graph
    is cut behind every recurrence, or between every two steps. Where L is a sum of losses that read the states of
    single steps, it is that of the loss of the step, so that nothing is lost but their values: each has the same part
    of L. What passes no state that a step has made, as where a loop's weights are used elsewhere, is of all losses
    alike. The steps of a loop are its own, whatever order it reads the sequence in.

    Args:
        recurrences: All that ran.
        loss: L, on the graph that is cut behind those that are opened.

    Returns:
        None where no sample is read at more than one step; where recurrences of different lengths are read, or a loop
        beside others; where L reads what a step of a loop puts out beside its states; where the inputs are followed,
        whose steps do not lead from one to the next; and where a derivative is not finite.
    """
    loops = [one for one in recurrences if isinstance(one, Loop)]
    if any(loop.name == INPUTS for loop in loops):
        return None
    opened = [one for one in recurrences if isinstance(one, Opened)]
    elsewhere = [use for loop in loops for uses in loop.outside.values() for use in uses if use.requires_grad]
    leaves = [leaf for one in opened for run in one.runs for leaf in run.leaves]
    direct = _direct(loss, [*leaves, *elsewhere], loops)
    finite = all(bool(one.isfinite().all()) for one in direct.values())
    if not finite or any(id(copy) in direct for copy in _copies(loops)):
        return None
    read = [one for one in opened if any(id(leaf) in direct for run in one.runs for leaf in run.leaves)]
    read_loops = [loop for loop in loops if _read_states(loop, direct)]
    if len({one.steps for one in (*read, *read_loops)}) != 1 or (read and read_loops):
        return None
    by_sample = [*(_reads(one, direct) for one in read), *(_reads_of_loop(loop, direct) for loop in read_loops)]
    if not any((steps.sum(0) > 1).any() for steps in by_sample):
        return None
    by_step = [torch.cat([_by_step(run, direct) for run in one.runs]) for one in read]
    losses = sum([*by_step, *(_of_loop(loop, direct) for loop in read_loops)])
    assert isinstance(losses, Tensor), "one recurrence is read at least"
    beside = sum(_product(direct[place], use) for place, use in _once(elsewhere).items() if place in direct)
    losses = losses + beside / len(losses)
    return losses - losses.detach() + loss.detach() / len(losses)


def _direct(loss: Tensor, ends: Sequence[Tensor], loops: Sequence[Loop]) -> dict[int, Tensor]:
    """The direct derivatives of a loss that are not zero, by what it reads: by ends, states of loops, and the weights
    that their steps worked with."""
    states = [value for value in _once(_states(loops)).values() if value.requires_grad]
    asked = list(_once([*ends, *_copies(loops)]).values())
    with _cut_at(states) as found:
        # Autograd goes no further than it is asked to, to the states as well.
        gradients = torch.autograd.grad(loss.sum(), [*asked, *states], retain_graph=True, allow_unused=True)
    found |= {id(end): one for end, one in zip(asked, gradients, strict=False) if one is not None}
    return {read: one.detach() for read, one in found.items() if (one != 0).any()}


@contextmanager
def _cut_at(states: Sequence[Tensor]) -> Iterator[dict[int, Tensor]]:
    """Inside, no derivative passes these states: what arrives there is taken down, by the state."""
    found: dict[int, Tensor] = {}

    def stopped(state: Tensor, gradient: Tensor) -> Tensor:
        found[id(state)] = gradient
        return torch.zeros_like(gradient)

    hooks = [state.register_hook(partial(stopped, state)) for state in states]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _states(loops: Sequence[Loop]) -> list[Tensor]:
    """Those that a step has made."""
    return [one for loop in loops for values in loop.visited.values() for one in values[1:] if one is not None]


def _copies(loops: Sequence[Loop]) -> list[Tensor]:
    return [copy for loop in loops for steps in loop.copies.values() for step in steps for copy in step]


def _once(tensors: Sequence[Tensor]) -> dict[int, Tensor]:
    return {id(one): one for one in tensors}


def _product(derivative: Tensor, value: Tensor) -> Float[Tensor, ""]:
    """What changes as much as the loss where the value does, of complex numbers too."""
    return (value * derivative.conj()).real.sum()


def _read_states(loop: Loop, direct: Mapping[int, Tensor]) -> list[tuple[int, str, Tensor]]:
    """Step, from 1 on, name and value of all states that are read; of one that is there at several steps, the last."""
    found = {
        id(value): (step, state, value)
        for state, values in loop.visited.items()
        for step, value in enumerate(values)
        if step and value is not None and id(value) in direct
    }
    return list(found.values())


def _of_loop(loop: Loop, direct: Mapping[int, Tensor]) -> Float[Tensor, " time"]:
    """What is read of a loop at each of its steps."""
    found = [next(iter(direct.values())).new_zeros(()).real for _ in range(loop.steps)]
    for step, _, value in _read_states(loop, direct):
        found[step - 1] = found[step - 1] + _product(direct[id(value)], value)
    return torch.stack(found)


def _reads_of_loop(loop: Loop, direct: Mapping[int, Tensor]) -> Bool[Tensor, "time batch"]:
    """Which states are read."""
    found = torch.zeros(loop.steps, loop.batch, dtype=torch.bool)
    for step, state, value in _read_states(loop, direct):
        found[step - 1] |= (loop.rows(state, direct[id(value)].unsqueeze(0))[0] != 0).any(-1).cpu()
    return found


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
