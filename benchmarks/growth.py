"""How cost grows with every size, and with which exponent, beside each peer's."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from benchmarks.drawing import panels
from benchmarks.network import Network
from benchmarks.peers import batched, passes
from benchmarks.section import Section
from benchmarks.through_scan import best_scanned
from benchmarks.timing import agree, side_by_side
from throughtime.cells import GRU

# What stands still while one of them grows.
BASE = {"steps": 128, "batch": 8, "hidden": 64, "sources": 128}
AXES = {
    "steps": (32, 64, 128, 256, 512, 1024),
    "hidden": (16, 32, 64, 128, 256, 512),
    "batch": (1, 2, 4, 8, 16, 32, 64),
    "sources": (8, 16, 32, 64, 128, 256, 512),
}
LABELS = {"steps": "T, all losses followed", "hidden": "H", "batch": "B", "sources": "losses followed, T = 512"}
NAMES = {"sweep": "Throughtime", "jax": "JAX", "batched": "is_grads_batched", "passes": "autograd passes"}
# Seconds: whatever takes longer is not measured at a larger size.
LONG_ENOUGH = 1.0
# Points of the largest sizes to which the exponent is fitted: small ones show what a call costs.
FITTED = 3

Curves = dict[str, dict[int, float]]


def measured() -> Section:
    """Seconds along every axis, the four taking turns at every point."""
    numbers = {axis: _curves(axis) for axis in AXES}
    rows = [(NAMES[name], *(_told(exponent(numbers[axis][name])) for axis in AXES)) for name in NAMES]
    return Section(
        "growth",
        "How cost grows",
        f"GRU; T = {BASE['steps']}, B = {BASE['batch']}, H = {BASE['hidden']}, all losses followed, while one of them "
        f"grows. The exponent is fitted to the {FITTED} largest sizes of each; who took more than {LONG_ENOUGH:g} s is "
        "not measured at a larger one. At every point all have found the same map.",
        ("exponent of cost in", *LABELS.values()),
        rows,
        numbers,
        {"Seconds against T, H, B and the number of losses followed": _picture(numbers)},
    )


def exponent(curve: dict[int, float]) -> float:
    """The slope of ln seconds over ln size; NaN of a single size, where a busy machine took too long at the first."""
    if len(curve) < 2:
        return math.nan
    sizes, seconds = (np.log(values)[-FITTED:] for values in (list(curve), list(curve.values())))
    return float(np.polyfit(sizes, seconds, 1)[0])


def _told(found: float) -> str:
    return "unknown" if math.isnan(found) else f"{found:.2f}"


def _curves(axis: str) -> Curves:
    curves: Curves = {name: {} for name in NAMES}
    for size in AXES[axis]:
        running = {name for name, curve in curves.items() if max(curve.values(), default=0.0) < LONG_ENOUGH}
        for name, seconds in _point(_network(axis, size), running).items():
            curves[name][size] = seconds
    return curves


def _network(axis: str, size: int) -> Network:
    sizes = BASE | {axis: size}
    if axis == "sources":
        sizes["steps"] = max(AXES["sources"])
    elif axis == "steps":
        sizes["sources"] = size
    return Network.drawn(GRU(), sizes["steps"], sizes["batch"], sizes["hidden"], sizes["sources"])


def _point(network: Network, names: set[str]) -> dict[str, float]:
    runs: dict[str, Callable[[], Tensor]] = {
        "sweep": network.swept,
        "batched": lambda: batched(network),
        "passes": lambda: passes(network),
    }
    if "jax" in names:
        runs["jax"] = best_scanned(network)[1]
    timed = side_by_side({name: run for name, run in runs.items() if name in names | {"sweep"}}, rounds=3)
    for name, peer in timed.items():
        agree(name, peer.found, timed["sweep"].found)
    return {name: peer.seconds for name, peer in timed.items()}


def _picture(numbers: dict[str, Any]) -> go.Figure:
    return panels(
        {
            LABELS[axis]: {
                NAMES[name]: (list(curve), list(curve.values()), f"exponent {_told(exponent(curve))}")
                for name, curve in curves.items()
            }
            for axis, curves in numbers.items()
        }
    )
