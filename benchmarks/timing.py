"""Timing that survives a busy machine: alternatives take turns, and medians are compared."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import machine

# Seconds of a first run.
WARM_UP_DOES_NOT_MATTER = 10.0
# In nats: below it the squares of a peer's float32 gradients underflow, which is set to zero or is about to be, where
# the sweep's do not.
UNDERFLOW = -36.0


@dataclass(frozen=True)
class Timed:
    """What a run took and what it found.

    Args:
        seconds: The median over the rounds.
        found: The result of the first run, which is not timed but where it takes very long.
    """

    seconds: float
    found: Any


def side_by_side(alternatives: Mapping[str, Callable[[], Any]], rounds: int = 3) -> dict[str, Timed]:
    """Every alternative once, to warm up and to be compared; then the rounds, A B A B ..., of those that are not so
    slow that the first run tells it."""
    found, seconds = dict[str, Any](), dict[str, list[float]]()
    for name, run in alternatives.items():
        first = seconds_of(lambda name=name, run=run: found.update({name: run()}))
        seconds[name] = [first] if first > WARM_UP_DOES_NOT_MATTER else []
    in_turn = [name for name, known in seconds.items() if not known]
    for _ in range(rounds):
        for name in in_turn:
            seconds[name].append(seconds_of(alternatives[name]))
    return {name: Timed(statistics.median(seconds[name]), found[name]) for name in alternatives}


def seconds_of(run: Callable[[], Any]) -> float:
    """One run."""
    machine.wait()
    start = time.perf_counter()
    run()
    machine.wait()
    return time.perf_counter() - start


def agree(name: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-3) -> None:
    """No speed without this: refuses to go on where two maps differ above what float32's autograd can represent.

    Args:
        name: What is compared.
        found: A map, nats.
        expected: Another, nats.
        tolerance: Nats.

    Raises:
        SystemExit: They differ by more than the tolerance.
    """
    found, expected = found.cpu(), expected.cpu()
    seen = torch.maximum(found, expected) > UNDERFLOW
    worst = float((found[seen] - expected[seen]).abs().max())
    if not worst <= tolerance:
        raise SystemExit(f"{name}: the results differ by {worst:.2g} nats; no speed is printed")
