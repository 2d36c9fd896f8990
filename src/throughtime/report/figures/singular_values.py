"""Singular values: which directions of a gradient are left after k steps, and how many of them."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from throughtime.notation import LAG_GRID, SINGULAR_VALUE
from throughtime.report.figures.drawing import MARK, figure, line
from throughtime.report.picture import Panel, Picture
from throughtime.report.readings import Reading


def singular_values(reading: Reading) -> go.Figure:
    """Above, ln of the largest singular values of ds_t/ds_{t-k} in nats over k; below, the stable rank."""
    values = reading.measures["singular_values"].transpose(SINGULAR_VALUE, LAG_GRID)
    lags, colour = values[LAG_GRID].values, line(reading.place)["color"]
    drawn = figure(
        height=400,
        showlegend=False,
        xaxis={
            "title": "lag k, in steps",
            "type": "log",
            "anchor": "y2",
            "tickvals": lags,
            "range": [-0.06, np.log10(lags[-1]) + 0.06],
        },
        yaxis={"domain": [0.46, 1], "title": "ln σ, in nats", "zeroline": False},
    )
    drawn.update_layout(
        yaxis2=drawn.layout.yaxis.to_plotly_json()
        | {"domain": [0, 0.36], "title": {"text": "stable rank,<br>in directions"}, "rangemode": "tozero"}
    )
    drawn.add_hline(0, line={"width": 1, "dash": "dot", "color": MARK}, yref="y")
    count = len(values)
    for place, (number, nats) in enumerate(zip(values[SINGULAR_VALUE].values, values.values, strict=True)):
        drawn.add_scatter(
            x=lags,
            y=np.where(np.isfinite(nats), nats, np.nan),
            mode="lines+markers" if place == 0 else "lines",
            line={"width": 2.4 if place == 0 else 1, "color": colour},
            marker={"size": 6},
            # The smaller the value, the fainter.
            opacity=1 - 0.6 * place / count,
            hovertemplate=f"singular value {number}<br>lag %{{x}}: %{{y:.4g}} nats<extra></extra>",
        )
    drawn.add_scatter(
        x=lags,
        y=reading.measures["stable_rank"].values,
        yaxis="y2",
        mode="lines+markers",
        line={"width": 2.2, "color": colour},
        marker={"size": 6},
        hovertemplate="lag %{x}: %{y:.3g} directions<extra></extra>",
    )
    return drawn


def _has_values(reading: Reading) -> bool:
    return "singular_values" in reading.measures


def _panels(readings: Sequence[Reading]) -> list[Panel]:
    of = Markup("ds<sub>t</sub>/ds<sub>t−k</sub>, the largest thick")
    return [Panel(reading, of, singular_values(reading)) for reading in filter(_has_values, readings)]


SINGULAR_VALUES = Picture(
    title="Singular values and stable rank",
    heading="In how many directions anything is left",
    lead="The product of k step Jacobians stretches the directions of a gradient by its singular values σ. Above, the "
    "largest of them; below, the stable rank: in how many directions about as much is left as in the strongest.",
    quantities=("singular_values", "stable_rank"),
    draw=lambda readings: singular_values(readings[0]),
    shows=_has_values,
    panels=_panels,
    caption=("s is the full state: h, or h and c. Mean over the steps and samples that were looked at.",),
)
