"""How the benchmarks are drawn: bars, curves in panels, a roofline."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from throughtime.report.figures.drawing import GRID, INK, figure, line

# Sizes, values, and what is said of the curve.
Curve = tuple[Sequence[float], Sequence[float], str]
# Of letters beside curves, in pixels.
SMALL = 11
# Above the curves of a panel, as a part of their height.
ROOM = 0.45


def bars(values: Mapping[str, float], unit: str) -> go.Figure:
    """One bar each, with its number."""
    drawn = figure(96 + 34 * len(values), showlegend=False)
    drawn.add_bar(
        y=list(values),
        x=list(values.values()),
        orientation="h",
        text=[f"{value:.3g}" for value in values.values()],
        textposition="outside",
        cliponaxis=False,
        marker={"color": [line(index)["color"] for index in range(len(values))]},
    )
    drawn.update_xaxes(title=unit)
    drawn.update_yaxes(autorange="reversed", showgrid=False)
    drawn.update_layout(margin={"r": 60}, plot_bgcolor="white", paper_bgcolor="white", bargap=0.35)
    return drawn


def panels(curves: Mapping[str, Mapping[str, Curve]]) -> go.Figure:
    """A panel for every x axis, on logarithmic axes; in each the same curves."""
    drawn = make_subplots(rows=2, cols=2, horizontal_spacing=0.11, vertical_spacing=0.16)
    for place, (label, by_name) in enumerate(curves.items()):
        row, column = place // 2 + 1, place % 2 + 1
        for index, (name, (sizes, values, _)) in enumerate(by_name.items()):
            looks = line(index)
            drawn.add_scatter(
                x=sizes,
                y=values,
                name=name,
                mode="lines+markers",
                line=looks,
                marker={"size": 5},
                showlegend=place == 0,
                row=row,
                col=column,
            )
        drawn.add_annotation(
            text="<br>".join(
                f'<span style="color:{line(index)["color"]}">{said}</span>'
                for index, (_, _, said) in enumerate(by_name.values())
            ),
            x=0.02,
            y=0.98,
            xref="x domain",
            yref="y domain",
            align="left",
            showarrow=False,
            bgcolor="white",
            font={"size": SMALL},
            row=row,
            col=column,
        )
        # Room above the curves for what is said of them.
        logs = [math.log10(value) for _, values, _ in by_name.values() for value in values]
        span = max(logs) - min(logs)
        drawn.update_yaxes(range=[min(logs) - 0.05 * span, max(logs) + ROOM * span], row=row, col=column)
        sizes = sorted({size for curve in by_name.values() for size in curve[0]})
        drawn.update_xaxes(title=label, tickvals=sizes, ticktext=[str(size) for size in sizes], row=row, col=column)
    drawn.update_xaxes(type="log", gridcolor=GRID, linecolor=GRID)
    drawn.update_yaxes(type="log", gridcolor=GRID, linecolor=GRID, title="seconds", dtick=1)
    return in_house_looks(drawn, 720)


def roofs(points: Sequence[Mapping[str, Any]], rate: float, bytes_per_second: float) -> go.Figure:
    """Where the machine's limits are, and how far below them everything stays.

    Args:
        points: With "cell", "hidden", "rate", "batched_rate", "operations_per_byte".
        rate: Operations per second.
        bytes_per_second: Through memory.
    """
    intensities = [point["operations_per_byte"] for point in points]
    left, right = min(rate / bytes_per_second, *intensities) / 2, max(intensities) * 2
    edge = [left, rate / bytes_per_second, right]
    drawn = go.Figure()
    drawn.add_scatter(
        x=edge,
        y=[min(rate, bytes_per_second * x) / 1e9 for x in edge],
        mode="lines",
        name="memory, then a large product",
        line={"color": INK, "width": 2},
    )
    cells = dict.fromkeys(point["cell"] for point in points)
    symbols = ("circle", "square", "diamond", "triangle-up")
    drawn.add_scatter(
        x=intensities,
        y=[point["batched_rate"] / 1e9 for point in points],
        mode="markers",
        name="a product of the sweep's shape",
        marker={"symbol": "line-ew-open", "size": 16, "color": INK},
    )
    for index, cell in enumerate(cells):
        own = [point for point in points if point["cell"] == cell]
        drawn.add_scatter(
            # Side by side where they would cover one another.
            x=[point["operations_per_byte"] * (1 + 0.06 * (index - len(cells) / 2)) for point in own],
            y=[point["rate"] / 1e9 for point in own],
            mode="markers+text",
            name=cell,
            text=[f"H = {point['hidden']}" if index == 0 else "" for point in own],
            textposition="middle left",
            marker={"symbol": symbols[index], "size": 10, "color": line(index)["color"]},
        )
    halves = [2.0**power for power in range(-2, 18)]
    ticks = {"type": "log", "gridcolor": GRID, "tickvals": halves, "ticktext": [f"{half:g}" for half in halves]}
    drawn.update_xaxes(title="operations per byte", **ticks)
    drawn.update_yaxes(title={"text": "10⁹ operations per second", "standoff": 10}, automargin=True, **ticks)
    return in_house_looks(drawn, 460)


def in_house_looks(drawn: go.Figure, height: int) -> go.Figure:
    """A figure as the report's are, on white."""
    looks = figure(height).layout
    drawn.update_layout(
        template="none",
        height=height,
        font=looks.font,
        legend=looks.legend,
        margin={"l": 64, "r": 40, "t": 48, "b": 48},
        plot_bgcolor="white",
        paper_bgcolor="white",
    )
    return drawn
