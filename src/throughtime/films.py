"""From where the lags of every loss are counted: the axes of the film of a recurrence."""

import torch
from torch import Tensor

from throughtime.adjoint import Network
from throughtime.capture import Opened, Recurrence
from throughtime.measures import Film
from throughtime.notation import turned


def film_of(network: Network, index: int, sources: Tensor, max_lag: int | None) -> Film:
    """The film of one recurrence.

    Args:
        network: All of them, and the losses.
        index: Of the recurrence.
        sources: Which losses are followed, as indices.
        max_lag: The largest lag that is followed; None for all.
    """
    recurrence, read_steps, losses = network.recurrences[index], network.read_steps, len(network.wiring.losses)
    labels, ends = sources + 1, read_steps.last_by_sample(index)
    starts, last = _spans(recurrence)
    apart = elsewhere = None
    if ends is not None and int(ends.max()) > 0:
        positions = ends.amax(0, keepdim=True)
        if starts is not None or bool((ends != positions).any()):
            apart = torch.where(ends > 0, ends, -1)
    elif losses == recurrence.steps:
        positions = turned(labels, recurrence.steps, recurrence.reverse)
        elsewhere = read_steps.out_of_step(index)
        if elsewhere is not None:
            positions = elsewhere[sources]
    else:
        read = read_steps.single(index)
        positions = read_steps.last(index, sources) if read is None else read[sources]
    if losses == 1:
        labels = turned(positions, recurrence.steps, recurrence.reverse)
    return Film(
        recurrence.states,
        recurrence.steps,
        recurrence.batch,
        loss_steps=labels,
        positions=positions,
        reverse=recurrence.reverse,
        max_lag=max_lag,
        causal=read_steps.causal(index),
        begins=recurrence.begins,
        followed=len(sources) / losses,
        ends=apart,
        starts=starts,
        last=last,
        out_of_step=elsewhere is not None,
        single=apart is not None or read_steps.reads_one_step(index),
    )


def _spans(recurrence: Recurrence) -> tuple[Tensor | None, Tensor | None]:
    """The states from which samples start and in which they end, where padding is read before or after them."""
    if not isinstance(recurrence, Opened) or len(recurrence.runs) > 1:
        return None, None
    reading, steps = recurrence.runs[0].reading, recurrence.steps
    starts, last = reading.waiting(steps), reading.ends(steps, recurrence.batch)
    starts = None if starts is None or not starts.any() else starts.cpu()
    return starts, None if bool((last == steps).all()) else last
