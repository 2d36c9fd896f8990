"""The full T x T map against what a user would otherwise do."""

from typing import Any

import plotly.graph_objects as go

from benchmarks.drawing import bars
from benchmarks.network import Network
from benchmarks.peers import batched, passes
from benchmarks.section import Section
from benchmarks.through_scan import best_scanned
from benchmarks.timing import agree, side_by_side
from throughtime.cells import GRU, RNN, Cell

# Cell, T, B, H.
SETTINGS: tuple[tuple[Cell, int, int, int], ...] = ((RNN(), 200, 8, 64), (GRU(), 512, 8, 128))
NAMES = {"sweep": "Throughtime", "jax": "JAX", "batched": "is_grads_batched", "passes": "autograd, T passes"}


def measured() -> Section:
    """Seconds of each, after its map has been compared with the sweep's."""
    return shown([one(*setting) for setting in SETTINGS])


def shown(numbers: list[dict[str, Any]]) -> Section:
    """What `one` has found of every setting."""
    rows = [
        (
            _setting(found),
            f"{found['seconds']['sweep']:.3f}",
            *(times(found["seconds"][name] / found["seconds"]["sweep"]) for name in list(NAMES)[1:]),
            str(found["jax_chunk"]),
        )
        for found in numbers
    ]
    return Section(
        "full_map",
        "The full gradient map against its peers",
        "Every loss followed to every state. Each peer has found the same map to 0.001 nats in the same run. JAX is "
        "jit and the vector-Jacobian product of a lax.scan under vmap, with its best number of losses at a time; "
        "compiling is not counted.",
        (
            "setting",
            "Throughtime, s",
            *(f"{name} takes" for name in list(NAMES.values())[1:]),
            "JAX's losses at a time",
        ),
        rows,
        numbers,
        {_setting(found): _picture(found) for found in numbers},
    )


def one(cell: Cell, steps: int, batch: int, hidden: int) -> dict[str, Any]:
    """One setting."""
    network = Network.drawn(cell, steps, batch, hidden)
    chunk, scanned = best_scanned(network)
    runs = {
        "sweep": network.swept,
        "jax": scanned,
        "batched": lambda: batched(network),
        "passes": lambda: passes(network),
    }
    timed = side_by_side(runs)
    for name, peer in timed.items():
        agree(name, peer.found, timed["sweep"].found)
    return {
        "cell": type(cell).__name__,
        "steps": steps,
        "batch": batch,
        "hidden": hidden,
        "jax_chunk": chunk,
        "seconds": {name: found.seconds for name, found in timed.items()},
    }


def times(ratio: float) -> str:
    """With two digits where it is below 1."""
    return f"{ratio:.1f} x" if ratio >= 1 else f"{ratio:.2f} x"


def _setting(found: dict[str, Any]) -> str:
    return f"{found['cell']}, T = {found['steps']}, B = {found['batch']}, H = {found['hidden']}"


def _picture(found: dict[str, Any]) -> go.Figure:
    return bars({NAMES[name]: seconds for name, seconds in found["seconds"].items()}, "seconds")
