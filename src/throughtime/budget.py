"""What an examination takes of memory, and how what it may take is shared out.

Counted is what it holds and makes, in bytes, from the moment at which the model has been run: trajectories, derivatives
along them, what the graph between the recurrences keeps, the adjoints of the sources followed at once, and what is
found.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from throughtime.adjoint import Network, derivatives_at_a_step, derivatives_in_all
from throughtime.adjoint.step_products import NUMBERS_AT_ONCE as NUMBERS_OF_JACOBIANS
from throughtime.adjoint.under_way import NUMBERS_AHEAD, STEPS_AHEAD
from throughtime.capture import ExaminationError, Opened, Recurrence
from throughtime.capture.graph import saved_behind
from throughtime.causes.decomposition import NUMBERS_AT_ONCE as NUMBERS_OF_CAUSES
from throughtime.causes.decomposition import SOURCES_FOLLOWED, sources_followed
from throughtime.cells import derive
from throughtime.measures import Film, LagBands
from throughtime.measures.band_sums import steps_at_once
from throughtime.measures.bootstrap import RESAMPLES
from throughtime.measures.gathered import NUMBERS_AT_ONCE as NUMBERS_GATHERED
from throughtime.measures.lag_profile import NUMBERS_AT_ONCE as NUMBERS_OF_DRAWS
from throughtime.measures.lag_profile import groups_of
from throughtime.measures.octaves import Octaves
from throughtime.measures.reel import NUMBERS_AT_ONCE as NUMBERS_OF_NORMS
from throughtime.measures.sample_sums import DIRECTIONS, numbers_by_sample
from throughtime.measures.source_sums import numbers_by_source
from throughtime.measures.term_norms import LARGEST_BATCH
from throughtime.measures.term_norms import NUMBERS_AT_ONCE as NUMBERS_OF_TERMS
from throughtime.unroll.recomputed import Recomputed

MIB = 2**20
# A weight's sum, its gradient, their difference and what these are made of: so many float64 copies of the largest.
COPIES_COMPARED = 6
# Bytes for what can be made smaller, where the caller does not say how many there are in all.
SPENT = 2**30
# What a process holds beyond what is counted, relative to it: blocks that were freed and do not fit what is made next.
BETWEEN_BLOCKS = 0.15
DOUBLE = 8
# The part of all there is that pre-activations may take: they cost two products to make again, and each of a few
# recurrences has some.
KEPT = 1 / 8


@dataclass(frozen=True)
class Shares:
    """How a budget is spent.

    Args:
        derivatives: Bytes for the derivatives along all recurrences.
        sources: How many sources are followed at once.
    """

    derivatives: int
    sources: int


def shared_out(
    memory: int | None, network: Network, losses: Tensor, films: Sequence[Film], bands: Sequence[LagBands]
) -> Shares:
    """The shares of a budget.

    Args:
        memory: All bytes that may be taken; None for what the machine has, of which no more than SPENT is spent on what
            can be made smaller.
        network: The recurrences.
        losses: On the graph between them.
        films: Of every recurrence.
        bands: Of every recurrence.

    Raises:
        ExaminationError: There is not even enough for a single source.
    """
    parts = list(zip(network.recurrences, films, bands, strict=True))
    held = _held(network.recurrences, losses)
    found = sum(_found(*part) for part in parts)
    passing = max(network.bytes_at_once(), *(max(_on_the_way(*part), _at_the_end(*part)) for part in parts))
    opened = [one for one in network.recurrences if isinstance(one, Opened)]
    derivatives = sum(derivatives_in_all(one) for one in opened)
    # Of a single step of each, and of each of its runs.
    fewest = sum(derivatives_at_a_step(one) for one in opened)
    source, sources = network.bytes_per_source(), films[0].sources
    least = held + found + passing + fewest + source
    there = memory if memory is not None else _available(losses.device)
    usable = math.inf if there is None else there / (1 + BETWEEN_BLOCKS)
    if least > usable:
        # With so much more, pre-activations would be kept that now are not.
        made_again = _made_again(opened)
        most = (least + sum(made_again)) * (1 + BETWEEN_BLOCKS)
        least += sum(size for size in made_again if size <= KEPT * most)
        raise ExaminationError(_refused(memory, there, least * (1 + BETWEEN_BLOCKS), held + fewest, found, films))
    left = usable - held - found - passing
    left = min(left, max(SPENT, fewest + source)) if memory is None else left
    if derivatives + sources * source <= left:
        return Shares(derivatives, sources)
    spent = min(derivatives, max(fewest, int(left / 2)), int(left) - source)
    return Shares(spent, max(1, min(sources, int(left - spent) // source)))


def for_what_can_be_made_again(memory: int | None, device: torch.device) -> int | None:
    """Bytes that the pre-activations of a recurrence may take: where they take more, states alone are kept of it. As
    many are for autograd's graphs of recurrent layers: of those that take more, the states at the borders of segments.
    """
    there = _available(device) if memory is None else memory
    return None if there is None else int(there * KEPT)


def _made_again(recurrences: Sequence[Opened]) -> list[int]:
    """Of every run that keeps no pre-activations, how many bytes they have."""
    found = []
    for run in (run for recurrence in recurrences for run in recurrence.runs):
        both = run.trajectory.input_pre, run.trajectory.recurrent_pre
        if any(isinstance(one, Recomputed) for one in both):
            found.append(sum(one[0].nbytes for one in both) * run.steps)
    return found


def _held(recurrences: Sequence[Recurrence], losses: Tensor) -> int:
    """What running the model has left: trajectories, and what the graph between them keeps."""
    before, kept = set[int](), dict[int, int]()
    ends = [losses]
    for recurrence in recurrences:
        before |= {_place(parameter) for parameter in recurrence.parameters.values()}
        if not isinstance(recurrence, Opened):
            continue
        # Of a chain of runs, the trajectory through all of them stands beside theirs.
        tensors = [*recurrence.trajectory.tensors()]
        for run in recurrence.runs:
            ends += [end for end in run.ends if end.requires_grad]
            tensors += [*run.trajectory.tensors(), run.hidden, *run.final.values()]
            # What was not computed, the caller has brought.
            before |= {_place(run.inputs)} if run.inputs.grad_fn is None else set()
        kept |= {_place(one): _size(one) for one in tensors}
    for end in ends:
        for one in saved_behind(end):
            if not one.is_leaf:
                kept.setdefault(_place(one), _size(one))
    return sum(size for place, size in kept.items() if place not in before)


def _found(recurrence: Recurrence, film: Film, bands: LagBands) -> int:
    """What is taken down: by source and state, by lag, by weight, and by step."""
    states, weights = len(film.states), len(recurrence.parameters)
    maps = (2 * states + weights) * film.sources * len(film.kept)
    causes = (1 + 4 * _paths(recurrence)) * _followed(recurrence, film) * len(film.kept)
    by_lag = states * groups_of(film) * film.lag_count * film.batch
    by_weight = (len(bands) + 1) * sum(weight.numel() for weight in recurrence.parameters.values())
    by_weight += _by_sample(recurrence, film, bands) if isinstance(recurrence, Opened) else 0
    return DOUBLE * (maps + causes + by_lag + _steps(film)) + recurrence.dtype.itemsize * by_weight


def _by_sample(recurrence: Opened, film: Film, bands: LagBands) -> int:
    """Numbers of what every sample, and every group of losses, adds to the weights at a distance."""
    if film.batch == 1 and not film.some:
        return 0
    trajectory, gates = recurrence.trajectory, (len(recurrence.cell.gates), len(recurrence.cell.entered))
    # Beside what a weight is multiplied with, 1 for the biases.
    features = trajectory.inputs.shape[-1] + 1, trajectory.states["h"].shape[-1] + 1
    octaves, width = len(Octaves.up_to(bands.farthest)), recurrence.width
    parts = list(zip(gates, features, strict=True))
    found = numbers_by_sample(film, octaves, width, parts)
    return found + (numbers_by_source(film, octaves, width, parts, trajectory.inputs.is_cpu) if film.some else 0)


def _on_the_way(recurrence: Recurrence, film: Film, bands: LagBands) -> int:
    """What is made and gone again while a film is played: of gathered norms, and of sums of terms or of causes."""
    size, width, states = recurrence.dtype.itemsize, recurrence.width * film.batch, len(film.states)
    gates = len(recurrence.cell.gates) if isinstance(recurrence, Opened) else 1
    rows = len(bands) * width
    on_cpu = all(weight.is_cpu for weight in recurrence.parameters.values())
    # The rows of so many steps, their slopes, and the adjoints that are made of them: on the CPU those of a band at a
    # time, elsewhere of all.
    steps = steps_at_once(rows * states, on_cpu)
    summed = steps * (rows * states + width * gates + (2 * width if on_cpu else rows) * (gates + 2))
    causes = NUMBERS_OF_CAUSES.where(on_cpu) * (2 + 3 * _paths(recurrence))
    norms = 4 * states * max(film.sources * film.batch, NUMBERS_OF_NORMS)
    if not on_cpu or film.batch > LARGEST_BATCH:
        norms += max(width, NUMBERS_OF_TERMS.where(on_cpu)) * (states + 3 * gates + 2)
    if not on_cpu:
        # Rows, once as they were met, once side by side, and once on the scales of their bands; Jacobians; and what is
        # played ahead, with its norms.
        at_a_step = film.sources * states * width
        summed += 3 * min(NUMBERS_GATHERED.elsewhere, steps * at_a_step) + states * NUMBERS_OF_JACOBIANS
        summed += 2 * min(NUMBERS_AHEAD.elsewhere, STEPS_AHEAD * at_a_step)
    return DOUBLE * norms + size * (summed + causes)


def _at_the_end(recurrence: Recurrence, film: Film, bands: LagBands) -> int:
    """What is made and gone again when it has been played: of the bootstrap, of a map, and of a weight and `.grad`."""
    states, lags = len(film.states), film.lag_count
    drawn = min(NUMBERS_OF_DRAWS, states * lags * RESAMPLES)
    profile = 2 * states * groups_of(film) * lags * film.batch
    copies = 2 * film.sources * len(film.kept)
    gram = 3 * len(bands) ** 2
    causes = 3 * (1 + _paths(recurrence)) * _followed(recurrence, film) * len(film.kept)
    compared = COPIES_COMPARED * max((weight.numel() for weight in recurrence.parameters.values()), default=0)
    return DOUBLE * max(10 * drawn + profile, copies, causes, gram, compared)


def _paths(recurrence: Recurrence) -> int:
    return len(derive(recurrence.cell).path_names) if isinstance(recurrence, Opened) else 1


def _followed(recurrence: Recurrence, film: Film) -> int:
    if isinstance(recurrence, Opened):
        return sources_followed(film, recurrence.cell, recurrence.weights)
    return min(film.sources, SOURCES_FOLLOWED)


def _steps(film: Film) -> int:
    """Numbers that stand for every step and sample: what stands before the weights, in all and by sample."""
    return film.steps * film.batch * (2 + (DIRECTIONS if film.batch > 1 else 0))


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _size(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()


def _refused(
    memory: int | None, there: float | None, least: float, by_step: int, found: int, films: Sequence[Film]
) -> str:
    asked = f"found {_told(memory)}" if memory is not None else f"this machine has {_told(there or 0)} left"
    largest = max(films, key=lambda one: len(one.kept))
    return (
        f"memory: {asked}, but at least {math.ceil(least)} bytes ({_told(least)}) are needed, {_told(found)} for what "
        f"is found of {largest.sources} losses at {len(largest.kept)} states, {_told(by_step)} for the trajectories of "
        f"{largest.steps} steps and {largest.batch} samples; follow fewer losses (loss_steps) or not as far (max_lag), "
        "or examine a smaller batch or a shorter sequence"
    )


def _told(number: float) -> str:
    return f"{number / MIB:,.0f} MiB" if number < 10 * 2**30 else f"{number / 2**30:,.0f} GiB"


def _available(device: torch.device) -> int | None:
    """Bytes that are left to this process; None where not known."""
    return min(_lefts(device), default=None)


def _lefts(device: torch.device) -> Iterator[int]:
    """What the GPU that the model is on, the machine, and the group of processes that this one belongs to, have left.

    What is found is kept on the CPU, and what it is made of where the model is: none must be exceeded.
    """
    if device.type == "cuda":
        # What torch has been given and does not use is there as well.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        yield torch.cuda.mem_get_info(device)[0] + unused
    # Linux alone tells.
    told = Path("/proc/meminfo")
    if told.exists():
        yield 1024 * int(told.read_text(encoding="ascii").partition("MemAvailable:")[2].split()[0])
    limit, current = (Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory.current"))
    if limit.exists() and (most := limit.read_text(encoding="ascii").strip()) != "max":
        yield max(0, int(most) - int(current.read_text(encoding="ascii")))
