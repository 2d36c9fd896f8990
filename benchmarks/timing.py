"""Timing that survives a busy machine: alternatives take turns, and medians are compared."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def side_by_side(alternatives: Mapping[str, Callable[[], Any]], rounds: int = 3) -> dict[str, float]:
    """Median seconds of each alternative, A B A B ..., after one run of each to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for turn in range(rounds + 1):
        for name, run in alternatives.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def product_rate(size: int = 2048) -> Callable[[], torch.Tensor]:
    """A product of two square float32 matrices, 2 size^3 operations, whose rate is the machine's."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    return lambda: left @ right


def agree(name: str, found: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """No speed without this: refuses to go on where two results differ.

    Raises:
        SystemExit: They differ by more than the tolerance, or in where they are zero.
    """
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()):
        raise SystemExit(f"{name}: the results are zero in different places; no speed is printed")
    worst = float((found[finite] - expected[finite]).abs().max())
    if not worst <= tolerance:
        raise SystemExit(f"{name}: the results differ by {worst:.2g} nats; no speed is printed")
