"""Gates: between which values each of them moves, and how much of it has hardly any slope left."""

from collections.abc import Sequence

import plotly.graph_objects as go
from markupsafe import Markup

from throughtime.notation import GATE, QUANTILE
from throughtime.report.figures.drawing import INK, INKED, figure, line, text
from throughtime.report.picture import Panel, Picture
from throughtime.report.readings import Reading


def gates(reading: Reading) -> go.Figure:
    """Above, the values of every gate as boxes, 5, 25, 50, 75, 95 %; below, what part is saturated, passes or dead."""
    measures, colour = reading.measures, line(reading.place)["color"]
    names = [text(str(gate)) for gate in measures[GATE].values]
    low, lower, middle, upper, high = measures["gate_quantile"].transpose(QUANTILE, GATE).values
    # In pixels: one row a gate in both halves, and the axis with its title between them.
    rows, between = 24 * len(names), 62
    height = 2 * rows + between
    category = {"autorange": "reversed", "showgrid": False, "type": "category"}
    drawn = figure(
        height=height + 64,
        margin={"l": 40, "r": 16, "t": 12, "b": 52},
        showlegend=False,
        xaxis={"title": "value (no unit)", "anchor": "y", "title_standoff": 4},
        yaxis={"domain": [(rows + between) / height, 1], **category},
    )
    axis, categories = drawn.layout.xaxis.to_plotly_json(), drawn.layout.yaxis.to_plotly_json()
    drawn.update_layout(
        xaxis2=axis
        | {"title": {"text": "part, %"}, "anchor": "y2", "tickformat": ".0%", "range": [-0.02, 1.02], "dtick": 0.25},
        yaxis2=categories | {"domain": [0, rows / height]},
    )
    drawn.add_box(
        orientation="h",
        y=names,
        lowerfence=low,
        q1=lower,
        median=middle,
        q3=upper,
        upperfence=high,
        mean=measures["gate_mean"].values,
        boxmean=True,
        line={"width": 1.6, "color": colour},
        hoverinfo="x+y",
    )
    drawn.add_bar(
        orientation="h",
        x=measures["saturation"].values,
        y=names,
        width=0.5,
        xaxis="x2",
        yaxis="y2",
        marker={"color": colour},
        hovertemplate="%{y}: %{x:.1%} of units, steps and samples saturated<extra></extra>",
    )
    marks = {"gate_slope": ("diamond", "of the steepest slope is left"), "dead_units": ("x", "of the units are dead")}
    for quantity, (symbol, words) in marks.items():
        if quantity in measures:
            drawn.add_scatter(
                x=measures[quantity].values,
                y=names,
                xaxis="x2",
                yaxis="y2",
                mode="markers",
                cliponaxis=False,
                marker={"symbol": symbol, "size": 9, "color": "white", "line": {"width": 1.5, "color": INK}},
                meta=INKED,
                hovertemplate=f"%{{y}}: %{{x:.2%}} {words}<extra></extra>",
            )
    return drawn


def _has_gates(reading: Reading) -> bool:
    return "gate_quantile" in reading.measures


def _panels(readings: Sequence[Reading]) -> list[Panel]:
    return [Panel(reading, Markup("values and saturation"), gates(reading)) for reading in filter(_has_gates, readings)]


GATES = Picture(
    title="Gates",
    heading="Between which values its gates move",
    lead="Every function of the equations by name: above, the values that it takes; below, the saturated part of "
    "them, at which it has less than 36 % of its steepest slope, so that hardly any gradient passes. Diamond: how "
    "much of its steepest slope is left, over all of them. Cross: the part of the units that is dead.",
    quantities=("gate_mean", "gate_quantile", "saturation", "gate_slope", "dead_units"),
    draw=lambda readings: gates(readings[0]),
    shows=_has_gates,
    panels=_panels,
    caption=(
        "Over units, steps and samples. Box: the middle half; line in it: the median; dashes: the mean; whiskers: "
        "5 and 95 %. Saturated: a sigmoid below 0.1 or above 0.9, tanh beyond ±0.8, a ReLU at zero.",
    ),
)
