"""The memory that a whole examination takes: against T, all losses followed, and within a budget."""

from typing import Any

import numpy as np

from benchmarks.alone import Setting
from benchmarks.section import Section

BATCH, HIDDEN = 4, 256
LENGTHS = (1024, 2048, 4096)
# GiB, of `memory=`, at the largest T: hardly more than the least.
BUDGETS = {"GRU": 1.5, "LSTM": 1.8}


def measured() -> Section:
    """Every cell at every length, and at the longest within a budget."""
    numbers = [one(kind, steps, None) for kind in BUDGETS for steps in LENGTHS]
    numbers += [one(kind, LENGTHS[-1], budget) for kind, budget in BUDGETS.items()]
    rows = [
        (
            found["cell"],
            f"{found['steps']:,}",
            "" if found["budget"] is None else f"{found['budget']:.1f} GiB",
            f"{found['gibibytes']:.2f}",
            f"{found['seconds']:.1f}",
        )
        for found in numbers
    ]
    exponents = ", ".join(f"{kind} {_exponent(numbers, kind):.2f}" for kind in BUDGETS)
    return Section(
        "memory",
        f"Memory of a whole map, B = {BATCH}, H = {HIDDEN}, all losses followed",
        "With all measures. Memory is what a process had at most beyond what it had before; the map of the last loss "
        f"was compared with autograd's over all steps. Exponents of growth with T, without a budget: {exponents}; the "
        "map itself, a number for every loss and state, has T² of them. With a budget, as many sources are followed "
        "at once as fit.",
        ("cell", "T", "memory=", "GiB", "examine, s"),
        rows,
        numbers,
    )


def one(kind: str, steps: int, budget: float | None) -> dict[str, Any]:
    """One length, within a budget in GiB or without."""
    asked = {"loss_steps": steps} | ({} if budget is None else {"memory": round(budget * 2**30)})
    found = Setting(kind, steps, BATCH, HIDDEN, asked).measured("examine")
    return {"cell": kind, "steps": steps, "budget": budget, **found}


def _exponent(numbers: list[dict[str, Any]], kind: str) -> float:
    own = [found for found in numbers if found["cell"] == kind and found["budget"] is None]
    sizes, values = [found["steps"] for found in own], [found["gibibytes"] for found in own]
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])
