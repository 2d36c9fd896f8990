"""The two ways through a step, and whether the sweep takes the faster one."""

from typing import Any

import plotly.graph_objects as go
import torch
from torch import Tensor

from benchmarks import machine
from benchmarks.drawing import panels
from benchmarks.network import Network
from benchmarks.section import Section
from benchmarks.timing import agree, side_by_side
from throughtime.adjoint import AtOneStep, Pullback, sweep
from throughtime.cells import GRU, LSTM, RNN, Cell, Gated

STEPS, BATCH, HIDDEN = 48, 8, 128
CELLS: tuple[Cell, ...] = (RNN(), Gated(), GRU(), LSTM())
SOURCES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Formed(Pullback):
    """Forms every step Jacobian."""

    def _forming_pays(self, gates: int, sources: int) -> bool:
        return True


class ThroughGates(Pullback):
    """Goes through the pre-activations of every gate."""

    def _forming_pays(self, gates: int, sources: int) -> bool:
        return False


WAYS = {"formed": Formed, "through gates": ThroughGates, "chosen": Pullback}


def measured() -> Section:
    """Seconds either way and by choice, by cell and number of sources, once all have found the same."""
    numbers = {type(cell).__name__: {sources: _timed(cell, sources) for sources in SOURCES} for cell in CELLS}
    rows = [
        (cell, *(f"{one['chosen'] / min(one.values()):.2f}" for one in by_sources.values()))
        for cell, by_sources in numbers.items()
    ]
    return Section(
        "ways",
        f"Whether the faster way through a step is taken, T = {STEPS}, B = {BATCH}, H = {HIDDEN}",
        "A step Jacobian is formed once and takes all sources in one product, or every source goes through the "
        "pre-activations of the gates. The numbers are the seconds by choice over those of the fastest: 1 is right, "
        "a little more is noise.",
        ("cell", *(f"{sources} sources" for sources in SOURCES)),
        rows,
        numbers,
        {"Seconds against sources that are under way": _picture(numbers)},
    )


def _timed(cell: Cell, sources: int) -> dict[str, float]:
    network = Network.drawn(cell, STEPS, BATCH, HIDDEN)
    direct = torch.randn(sources, BATCH, HIDDEN, device=machine.DEVICE)
    timed = side_by_side({name: lambda way=way: _swept(network, direct, way) for name, way in WAYS.items()}, rounds=5)
    for name, run in timed.items():
        agree(f"{name}, {cell}", run.found, timed["formed"].found)
    return {name: run.seconds for name, run in timed.items()}


@torch.no_grad()
def _swept(network: Network, direct: Tensor, way: type[Pullback]) -> Tensor:
    """What arrives at the initial state, of sources that all begin at the last step."""
    pullback = way(network.cell, network.layer.weights(0, 0), network.trajectory)
    begins = torch.full((len(direct),), STEPS)
    *_, last = sweep(pullback, [AtOneStep(direct, begins)], len(direct), torch.zeros_like(begins))
    return last.ln_square["h"].exp().mean(-1).log() / 2


def _picture(numbers: dict[str, Any]) -> go.Figure:
    return panels(
        {
            f"sources under way, {cell}": {
                way: (list(by_sources), [one[way] for one in by_sources.values()], way) for way in WAYS
            }
            for cell, by_sources in numbers.items()
        }
    )
