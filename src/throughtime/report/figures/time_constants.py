"""Time constants: how many of a gated cell's units hold what they carry for how long."""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from throughtime.report.figures.drawing import figure, line, owner, text
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading

# In powers of ten: below the first, ticks are spread evenly, and beyond the second only powers of ten have room.
_NEAR, _FAR = 0.7, 3
_MOST_TICKS = 10


def time_constants(readings: Sequence[Reading]) -> go.Figure:
    """The part of the units with at most a time constant, over it, in steps on a logarithmic axis.

    Args:
        readings: Those that have time constants are drawn.
    """
    gated = [reading for reading in readings if reading.time_constants.size]
    ends = np.concatenate([reading.time_constants[[0, -1]] for reading in gated])
    low, high = math.log10(ends.min()) - 0.05, math.log10(ends.max()) + 0.05
    ticks = _ticks(low, high)
    drawn = figure(
        height=330,
        showlegend=len(readings) > 1,
        xaxis={
            "title": "time constant, in steps",
            "type": "log",
            "range": [low, high],
            "tickvals": ticks,
            "ticktext": [f"{tick:,.6g}" for tick in ticks],
        },
        yaxis={"title": "part of the units, %", "tickformat": ".0%", "range": [0, 1.02]},
    )
    for reading in gated:
        values, name = reading.time_constants, text(reading.label)
        units = reading.measures["time_constant"].size
        drawn.add_scatter(
            # From the axis up, and to the right where some units hold for ever.
            x=[values[0], *values, 10**high],
            y=[0, *(np.arange(1, len(values) + 1) / units), len(values) / units],
            name=name,
            mode="lines",
            line=line(reading.place) | {"shape": "hv"},
            meta=owner(reading),
            hovertemplate=f"{name}<br>%{{y:.0%}} of the units: at most %{{x:.3g}} steps<extra></extra>",
        )
    return drawn


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between two powers of ten: even where these are near, else 1, 2, 5, 10, ... or 1, 10, ..."""
    first, last = 10**low, 10**high
    if high - low < _NEAR:
        step = min(step for step in _round(-18, 18, (1, 2, 5)) if (last - first) / step <= _MOST_TICKS)
        return [float(f"{k * step:.6g}") for k in range(math.ceil(first / step), math.floor(last / step) + 1)]
    factors = (1, 2, 5) if high - low < _FAR else (1,)
    return [value for value in _round(math.floor(low), math.ceil(high), factors) if first <= value <= last]


def _round(low: int, high: int, factors: Sequence[int]) -> list[float]:
    return [float(f"{factor}e{power}") for power in range(low, high + 1) for factor in factors]


TIME_CONSTANTS = Picture(
    title="Time constants of the units",
    heading="How long its units hold",
    lead="If nothing but the keep gate acted, a unit would hold 1/e of what it carries after one time constant.",
    quantities=("time_constant",),
    draw=time_constants,
    shows=lambda reading: bool(reading.time_constants.size),
    caption=(
        "Per unit, −1 over the mean of ln keep over steps and samples. A line that ends below 100 % leaves out "
        "units whose gate stays at exactly 0 or 1.",
    ),
)
