"""What stands in for a loss where there is none: at every step, a random direction of the hidden state.

The source at step t is v_t . h_t, with v_t a random direction of unit length for every step and sample. Its adjoint at
s_i is v_t^T dh_t/ds_i, whose norm is 1 at h_t and tells from there on what the states alone do to a gradient.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from throughtime.adjoint import AtOneStep, Pullback, sweep
from throughtime.budget import SPENT
from throughtime.capture import Opened
from throughtime.examination import Record
from throughtime.examine import chosen
from throughtime.measures import Film, step_jacobians
from throughtime.notation import FIRST_SAMPLE, LARGEST, MEAN, NORM, STEP, turned
from throughtime.record import Recorder


def followed(recurrence: Opened, seed: int, on_step: Callable[[int, int], None]) -> Record:
    """Every source of one recurrence followed back to the initial state, by itself.

    Args:
        recurrence: The recurrence.
        seed: Of the directions, and of the bootstrap behind the intervals.
        on_step: Called with (steps done, all steps).

    Returns:
        Its record, without what needs a loss, and with its step Jacobians.
    """
    film = _film(recurrence)
    pullback = Pullback(recurrence.cell, recurrence.weights, recurrence.trajectory)
    recorder = Recorder(recurrence, film, pullback, None, seed)
    directions = unit_directions(film, recurrence, seed)
    # What is at work at once: the adjoints of all states and of the pre-activations.
    numbers = recurrence.trajectory.input_pre[0].numel() + 4 * directions[0].numel()
    chunks = torch.arange(film.sources).split(max(1, SPENT // (numbers * directions.element_size())))
    for index, rows in enumerate(chunks):
        entering = AtOneStep(directions[rows], film.positions[rows])
        recorder.reads(rows, entering.reads())
        for frame in sweep(pullback, [entering], len(rows), torch.zeros_like(rows)):
            for measure in recorder.audience:
                measure.update(frame.of(rows))
            on_step((index + 1) * (film.steps + 1) - frame.step, len(chunks) * (film.steps + 1))
    recorder.finish()
    record = recorder.record({}, {})
    return replace(record, measures=record.measures.assign(step_jacobian=_step_jacobian(recurrence, film)))


def unit_directions(film: Film, recurrence: Opened, seed: int) -> Float[Tensor, "source batch projected"]:
    """Of every source, v: uniformly distributed over the directions of h."""
    hidden = recurrence.trajectory.states["h"]
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(film.sources, *hidden.shape[1:], generator=generator, dtype=torch.float64)
    return functional.normalize(normal, dim=-1).to(hidden.dtype)


def _film(recurrence: Opened) -> Film:
    labels = chosen("auto", recurrence.steps) + 1
    positions = turned(labels, recurrence.steps, recurrence.reverse)
    return Film(
        recurrence.states, recurrence.steps, recurrence.batch, labels, positions, recurrence.reverse, causal=True
    )


def _step_jacobian(recurrence: Opened, film: Film) -> xr.DataArray:
    """Labelled by the step i of the sequence."""
    found = step_jacobians(recurrence.cell, recurrence.weights, recurrence.trajectory)
    steps = turned(found.steps, film.steps, film.reverse)
    norms = torch.stack([found.largest, found.mean]).numpy()
    axes = {NORM: [LARGEST, MEAN], STEP: steps.numpy()}
    return xr.DataArray(norms, axes, (NORM, STEP, FIRST_SAMPLE), attrs={"units": "nats"}).sortby(STEP)
