"""Lyapunov exponents: at what rates the directions of the full state grow or shrink along the data."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from throughtime.notation import EXPONENT, STANDARD_ERRORS
from throughtime.report.figures.drawing import MARK, figure, line, owner, text
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading


def lyapunov(readings: Sequence[Reading]) -> go.Figure:
    """The leading exponents in nats per step, from the largest, with twice their standard error.

    Args:
        readings: Those that have exponents are drawn.
    """
    measured, unit = [reading for reading in readings if _has_exponents(reading)], "nats per step"
    drawn = figure(
        height=360,
        showlegend=len(readings) > 1,
        xaxis={"title": "exponent, number 1 the largest", "dtick": 1, "showgrid": False},
        yaxis={"title": f"λ, in {unit}", "zeroline": False},
    )
    drawn.add_hline(0, line={"width": 1, "dash": "dot", "color": MARK})
    for place, reading in enumerate(measured):
        name, values = text(reading.label), reading.measures["lyapunov"]
        error = np.nan_to_num(STANDARD_ERRORS * reading.measures["lyapunov_error"].values)
        # Side by side, so that no error bar covers another.
        aside = 0.5 * (place - (len(measured) - 1) / 2) / len(measured)
        drawn.add_scatter(
            x=values[EXPONENT].values + aside,
            y=np.where(np.isfinite(values), values, np.nan),
            error_y={"type": "data", "array": error, "thickness": 1.4, "width": 3},
            name=name,
            customdata=np.stack([values[EXPONENT].values, error], axis=-1),
            mode="lines+markers",
            line=line(reading.place) | {"width": 1.2},
            marker={"size": 7, "symbol": reading.place % 8},
            meta=owner(reading),
            hovertemplate=f"{name}<br>λ%{{customdata[0]}} = %{{y:.3g}} ± %{{customdata[1]:.2g}} {unit}<extra></extra>",
        )
    return drawn


def _has_exponents(reading: Reading) -> bool:
    return "lyapunov" in reading.measures and bool(np.isfinite(reading.measures["lyapunov"].values).any())


LYAPUNOV = Picture(
    title="Lyapunov exponents",
    heading="At what rates its directions grow or shrink",
    lead="The rates of the directions that survive longest, on average along the data, whatever the loss. Below the "
    "dotted line at 0 every small change dies out and so does every gradient; above it the state is chaotic and "
    "gradients grow.",
    quantities=("lyapunov", "lyapunov_error"),
    draw=lyapunov,
    shows=_has_exponents,
    caption=("Of the full state: h, or h and c. Bars: the 95 % interval, from the means of blocks of steps.",),
)
