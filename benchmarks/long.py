"""Long sequences: seconds and memory against T, with so many losses followed so far back."""

from typing import Any

import numpy as np

from benchmarks.alone import Setting
from benchmarks.section import Section

LENGTHS = (25_000, 50_000, 100_000)
MILLION = 1_000_000
HIDDEN, MAX_LAG, LOSSES = 64, 2048, 64
# torch's own GRU would take some 18 GiB and two minutes for a single training step over a million, five times what it
# takes over 200,000.
CELLS = ("RNN", "LSTM")


def measured() -> Section:
    """Every cell at every length."""
    numbers = [one(kind, steps) for kind in CELLS for steps in (*LENGTHS, MILLION)]
    rows = [
        (
            found["cell"],
            f"{found['steps']:,}",
            f"{found['seconds']['examine']:.1f}",
            f"{found['seconds']['examine'] / found['seconds']['step']:.1f} x",
            f"{found['gibibytes']['examine']:.2f}",
            f"{found['gibibytes']['step']:.2f}",
        )
        for found in numbers
    ]
    exponents = "; ".join(
        f"{kind}: time {_exponent(numbers, kind, 'seconds'):.2f}, memory {_exponent(numbers, kind, 'gibibytes'):.2f}"
        for kind in CELLS
    )
    return Section(
        "long",
        f"Long sequences, B = 1, H = {HIDDEN}, max_lag = {MAX_LAG}, {LOSSES} losses followed",
        "With all measures. A training step is the forward and the backward pass of the same model, in a process of "
        "its own; memory is what a process had at most beyond what it had before. The map of the last loss was "
        f"compared with autograd's over the last {MAX_LAG} steps. Exponents of growth with T up to {LENGTHS[-1]:,}, "
        f"where all steps are followed from some loss: {exponents}. Of a million steps no more than {MAX_LAG} are "
        "followed from each, and the graph of a layer, which would not fit, is made segment by segment.",
        ("cell", "T", "examine, s", "in training steps", "examine, GiB", "training step, GiB"),
        rows,
        numbers,
    )


def one(kind: str, steps: int) -> dict[str, Any]:
    """One length."""
    setting = Setting(kind, steps, 1, HIDDEN, {"max_lag": MAX_LAG, "loss_steps": LOSSES})
    taken = {what: setting.measured(what) for what in ("step", "examine")}
    by_unit = {unit: {what: found[unit] for what, found in taken.items()} for unit in ("seconds", "gibibytes")}
    return {"cell": kind, "steps": steps, **by_unit}


def _exponent(numbers: list[dict[str, Any]], kind: str, what: str) -> float:
    own = [found for found in numbers if found["cell"] == kind and found["steps"] in LENGTHS]
    sizes, values = [found["steps"] for found in own], [found[what]["examine"] for found in own]
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
