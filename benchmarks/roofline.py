"""The bare sweep against the machine's own rates, counted in minimal operations."""

from typing import Any

import plotly.graph_objects as go
import torch

import throughtime as tt
from benchmarks import machine
from benchmarks.drawing import roofs
from benchmarks.network import Network, ln_rms
from benchmarks.section import Section
from benchmarks.timing import agree, side_by_side
from throughtime.cells import GRU, LSTM, RNN, Cell, Gated

STEPS, BATCH = 1000, 8
CELLS: tuple[Cell, ...] = (RNN(), Gated(), GRU(), LSTM())
SIZES = (128, 256)
SQUARE = 2048
BYTES = 4  # of a float32 number


def measured() -> Section:
    """Achieved operations per second, by cell and H, beside what products and copies reach in the same minute."""
    return shown([one(cell, hidden) for cell in CELLS for hidden in SIZES])


def shown(numbers: list[dict[str, Any]]) -> Section:
    """What `one` has found of every cell and size."""
    rows = [
        (
            found["cell"],
            str(found["hidden"]),
            f"{found['seconds']:.2f}",
            f"{found['rate'] / 1e9:.0f}",
            part(found["rate"] / found["square_rate"]),
            part(found["rate"] / found["batched_rate"]),
            f"{found['examined_seconds']:.2f}",
            f"{found['examined_rate'] / 1e9:.0f}",
            part(found["examined_rate"] / found["square_rate"]),
        )
        for found in numbers
    ]
    return Section(
        "roofline",
        f"The bare sweep at the machine's limit, T = {STEPS}, B = {BATCH}, all losses followed",
        "Counted in the least operations there are, one product with the step Jacobian per loss, state and sample: "
        "2 H² each, 4 H² for an LSTM. The one roof is the rate of a product of two square matrices of size "
        f"{SQUARE}, sgemm at its best; the other what a product of the sweep's own shape reaches, as many rows as half "
        "the losses and an H × H matrix for every sample; the slope is the speed of memory. With all measures it is a "
        "whole `tt.examine`, counted in the operations of its sweep alone: norms, log scales, paths, causes and the "
        "terms of all weights come on top, and so do its runs of the model.",
        (
            "cell",
            "H",
            "sweep, s",
            "10⁹ operations/s",
            f"of a product of size {SQUARE}",
            "of a product of its own shape",
            "with all measures, s",
            "10⁹ operations/s",
            f"of a product of size {SQUARE}",
        ),
        rows,
        numbers,
        {"Operations per second against operations per byte": _picture(numbers)},
    )


def part(ratio: float) -> str:
    """In percent, with a decimal where there are few."""
    return f"{ratio:.0%}" if ratio >= 0.1 else f"{ratio:.1%}"


def one(cell: Cell, hidden: int) -> dict[str, Any]:
    """One cell at one size."""
    network = Network.drawn(cell, STEPS, BATCH, hidden)
    rows = STEPS // 2
    runs = {
        "sweep": network.swept,
        "examined": network.examined,
        "square": machine.square_product(SQUARE),
        "batched": machine.batched_product(BATCH, rows, hidden),
        "copy": machine.copy(),
    }
    timed = side_by_side(runs, rounds=2)
    check(network, timed["sweep"].found)
    agree(f"examination, {cell}", _map(timed["examined"].found), timed["sweep"].found)
    return {
        "cell": type(cell).__name__,
        "hidden": hidden,
        "seconds": timed["sweep"].seconds,
        "rate": network.minimal_operations / timed["sweep"].seconds,
        "examined_seconds": timed["examined"].seconds,
        "examined_rate": network.minimal_operations / timed["examined"].seconds,
        "square_rate": 2 * SQUARE**3 / timed["square"].seconds,
        "batched_rate": 2 * BATCH * rows * hidden**2 / timed["batched"].seconds,
        "bytes_per_second": 2 * BYTES * machine.BEYOND_CACHES / timed["copy"].seconds,
        # The adjoints are read and written, the Jacobian read.
        "operations_per_byte": 2 * rows * hidden**2 / (BYTES * (2 * rows * hidden + hidden**2)),
    }


def check(network: Network, found: torch.Tensor) -> None:
    """Three rows of the map, from the first, the middle and the last loss, against a backward pass each."""
    states, losses = network.unrolled()
    for source in (0, len(losses) // 2, len(losses) - 1):
        reached = torch.autograd.grad(losses[source], states[: source + 2], retain_graph=True)
        agree(f"sweep, {network.cell}", found[source, : source + 2], ln_rms(torch.stack(reached)))


def _map(exam: tt.Examination) -> torch.Tensor:
    """Of the hidden state, (source, state_step), nats."""
    return torch.from_numpy(exam[exam.recurrences[0]]["gradient_map"].sel(state="h").values)


def _picture(numbers: list[dict[str, Any]]) -> go.Figure:
    median = {
        name: float(torch.tensor([found[name] for found in numbers]).median())
        for name in ("square_rate", "bytes_per_second")
    }
    return roofs(numbers, median["square_rate"], median["bytes_per_second"])
