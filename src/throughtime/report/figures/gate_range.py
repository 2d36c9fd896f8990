"""The range of the gates: what every unit keeps, writes and reads at least and at most, over all steps."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from throughtime.notation import BOUND, BOUNDS, ROLE
from throughtime.report.figures.drawing import figure, line, text, translucent
from throughtime.report.picture import Panel, Picture
from throughtime.report.readings import Reading

_HIGH, _BETWEEN = 96, 34  # pixels of one role, and between two


def gate_range(reading: Reading) -> go.Figure:
    """For every role a band from the smallest to the largest value of every unit; units in the order of the largest."""
    ranges = reading.measures["gate_range"]
    roles, colour = [str(role) for role in ranges[ROLE].values], line(reading.place)["color"]
    height = len(roles) * (_HIGH + _BETWEEN) - _BETWEEN
    drawn = figure(
        height=height + 64,
        margin={"l": 56, "r": 16, "t": 12, "b": 52},
        showlegend=False,
        xaxis={"title": "part of the units, %", "tickformat": ".0%", "range": [0, 1], "dtick": 0.25},
    )
    for place, role in enumerate(roles):
        low, high = (ranges.sel({ROLE: role, BOUND: bound}).values for bound in BOUNDS)
        order = np.argsort(high, kind="stable")
        parts = (np.arange(len(order)) + 0.5) / len(order)
        suffix = "" if place == 0 else str(place + 1)
        top = 1 - place * (_HIGH + _BETWEEN) / height
        domain = [max(0.0, top - _HIGH / height), top]
        axis = drawn.layout.yaxis.to_plotly_json() | {"domain": domain, "title": {"text": f"{text(role)}<br>(no unit)"}}
        ends = {"range": [0, 1.02 * max(1.0, high.max())], "nticks": 3}
        drawn.update_layout({f"yaxis{suffix}": axis | ends})
        drawn.add_scatter(
            x=parts,
            y=low[order],
            yaxis=f"y{suffix}",
            mode="lines",
            line={"width": 1.2, "color": colour},
            hovertemplate=f"{text(role)}, smallest: %{{y:.3g}}<extra></extra>",
        )
        drawn.add_scatter(
            x=parts,
            y=high[order],
            yaxis=f"y{suffix}",
            mode="lines",
            line={"width": 2, "color": colour},
            fill="tonexty",
            fillcolor=translucent(colour),
            hovertemplate=f"{text(role)}, largest: %{{y:.3g}}<extra></extra>",
        )
    # The axis of the units stands below the last role.
    return drawn.update_layout(xaxis_anchor=f"y{len(roles)}" if len(roles) > 1 else "y")


def _has_range(reading: Reading) -> bool:
    return "gate_range" in reading.measures


def _panels(readings: Sequence[Reading]) -> list[Panel]:
    of = Markup("what every unit keeps and writes")
    return [Panel(reading, of, gate_range(reading)) for reading in filter(_has_range, readings)]


GATE_RANGE = Picture(
    title="Range of the gates by unit",
    heading="What its units keep and write at least and at most",
    lead="The smallest and the largest value that a gate takes in each unit, over all steps and samples. A band at "
    "the bottom is a gate that never opens, one at the top a gate that never closes.",
    quantities=("gate_range", "gate never opens", "gate never closes"),
    draw=lambda readings: gate_range(readings[0]),
    shows=_has_range,
    panels=_panels,
    caption=(
        "Keep and write: what stands before the old state and before the candidate. Read: the slope of h by c. "
        "Units in the order of their largest value.",
    ),
)
