"""What all pictures share: fonts, margins, and how one line is told from another with and without colour."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import takewhile
from typing import Any

import numpy as np
import plotly.graph_objects as go

from throughtime.notation import (
    ACTIVATION_SLOPE,
    CANDIDATE,
    CARRY,
    ENTERING,
    KEEP_GATE,
    OUTPUT_GATE,
    WEIGHTS,
    WRITE_GATE,
)
from throughtime.report.readings import Reading

# A contrast of 3 or more against white and against the dark page; told apart by the colour-blind with the dashes.
_LINES = ("#2f7fc1", "#d9730d", "#1f9e6f", "#b05fc4", "#c9414f", "#8a7a3f")
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

# Colour and hatching of a cause, the same in every picture.
CAUSES = {
    ACTIVATION_SLOPE: ("#b8950b", ""),
    WEIGHTS: ("#1a98a8", "/"),
    CARRY: ("#2f7fc1", ""),
    KEEP_GATE: ("#d9730d", "/"),
    CANDIDATE: ("#1f9e6f", "\\"),
    WRITE_GATE: ("#b05fc4", "x"),
    OUTPUT_GATE: ("#c9414f", "."),
    ENTERING: ("#868c94", "-"),
}
OTHER_CAUSE = ("#8a7a3f", "|")

# A limit or a zero line: seen on the light and on the dark page.
MARK = "#868c94"

# The trace that shows a sum of others is drawn in the ink of the page.
INKED = {"looks": "ink"}

# The light page's colours. The page puts its own in their place when it is dark.
INK, GRID, ZERO = "#1d2126", "#e3e6ea", "#d5d9de"

# Steps up to which each has a tick.
_EVERY_STEP = 8
# Letters of a name beside a row, and the parts that names consist of.
_ROW_NAME, _PARTS = 28, re.compile(r"[^. ]+[. ·]*|[. ·]+")
# In pixels: of a legend the line and the gaps beside a name, a letter and a row, and the width of a figure on the page.
_ENTRY, _LETTER, _LEGEND_ROW, _PAGE = 56, 7.5, 29, 1000


def line(index: int) -> dict[str, Any]:
    """Colour and dashes of the line number `index`."""
    turn, place = divmod(index, len(_LINES))
    # Every turn through the colours shifts the dashes by one, so that no two of 36 lines look alike.
    return {"color": _LINES[place], "dash": _DASHES[(place + turn) % len(_DASHES)], "width": 2.2}


def owner(reading: Reading) -> dict[str, int]:
    """The mark of a trace by which the page knows whose it is, where one recurrence is looked at among others."""
    return {"reading": reading.place}


def translucent(colour: str, opacity: float = 0.16) -> str:
    """A "#rrggbb" colour as a band's fill."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def add_band(drawn: go.Figure, x: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, **group: Any) -> None:
    """The area between two lines, where both are finite.

    Args:
        drawn: Where it is added.
        x: Along the axis.
        low: The lower line.
        high: The upper one.
        colour: Of the line inside.
        group: What else is said of the trace.
    """
    known = np.isfinite(low) & np.isfinite(high)
    if not known.any():
        return
    drawn.add_scatter(
        x=[*x[known], *x[known][::-1]],
        y=[*high[known], *low[known][::-1]],
        fill="toself",
        fillcolor=translucent(colour),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        **group,
    )


def hatched(colour: str, pattern: str) -> dict[str, Any]:
    """The marker of a bar that is told from others by its hatching, too."""
    return {"color": colour, "pattern": {"shape": pattern, "fillmode": "overlay", "size": 7, "fgopacity": 0.35}}


def text(words: str) -> str:
    """A user's words as Plotly shows them literally; it would read tags in them."""
    return escape(words, quote=False)


def step_axis(steps: int) -> dict[str, Any]:
    """Of an axis over so many steps, of which each has a tick where they are few."""
    return {"dtick": 1} if steps <= _EVERY_STEP else {}


def lag_axis(readings: Sequence[Reading]) -> dict[str, Any]:
    """Of an axis over lags; where the sequence is read from its end, they are counted the other way."""
    directions = {reading.backwards_in_time for reading in readings}
    counted = "t − i, reverse i − t" if len(directions) > 1 else "t − i" if directions == {True} else "i − t"
    return {"title": f"lag {counted}, in steps", **step_axis(max(reading.steps for reading in readings))}


def row_names(readings: Sequence[Reading]) -> list[str]:
    """Their labels beside the rows of a figure: of long ones no more than what tells them apart, if that is enough."""
    labels = [reading.label for reading in readings]
    if max(map(len, labels)) > _ROW_NAME:
        before, behind = (_in_common([_PARTS.findall(label)[::way] for label in labels]) for way in (1, -1))
        for start, end in ((0, behind), (before, 0), (before, behind)):
            if start + end >= min(map(len, labels)):
                continue
            short = [f"{'…' * (start > 0)}{label[start : len(label) - end]}{'…' * (end > 0)}" for label in labels]
            if max(map(len, short)) <= _ROW_NAME and len(set(short)) == len(labels):
                labels = short
                break
        else:
            # The end of a name is its layer.
            short = [
                label if len(label) <= _ROW_NAME else f"{label[: _ROW_NAME // 3]}…{label[1 - 2 * _ROW_NAME // 3 :]}"
                for label in labels
            ]
            labels = short if len(set(short)) == len(labels) else labels
    return [text(label) for label in labels]


def _in_common(names: Sequence[Sequence[str]]) -> int:
    """How many letters the parts have with which all names begin."""
    alike = takewhile(lambda parts: len(set(parts)) == 1, zip(*names, strict=False))
    return sum(len(parts[0]) for parts in alike)


def figure(height: int, **layout: Any) -> go.Figure:
    """An empty figure in the house's looks, `height` pixels high."""
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "automargin": True, "title_standoff": 8}
    base = go.Layout(
        template="none",
        height=height,
        margin={"l": 56, "r": 16, "t": 12, "b": 48},
        font={"family": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif", "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="closest",
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": MARK},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        xaxis=axis,
        yaxis=axis,
    )
    return go.Figure(layout=base.update(layout))


def with_room_for_legend(drawn: go.Figure) -> go.Figure:
    """The same, higher by what its legend takes beyond a row, so that the picture keeps its height."""
    if drawn.layout.showlegend is False or drawn.layout.legend.orientation != "h":
        return drawn
    names = {trace.name for trace in drawn.data if trace.name and trace.showlegend is not False}
    widest = _ENTRY + _LETTER * max(map(len, names), default=0)
    rows = -(-len(names) // max(1, int(_PAGE / widest)))
    return drawn.update_layout(height=drawn.layout.height + _LEGEND_ROW * max(0, rows - 1))


def not_computed(nats: np.ndarray, x: Iterable[float], y: Iterable[Any]) -> go.Heatmap:
    """Plain white over the background of a map, which alone would say zero."""
    return go.Heatmap(
        z=np.where(np.isnan(nats), 0.0, np.nan),
        x=x,
        y=y,
        colorscale=[[0, "white"], [1, "white"]],
        showscale=False,
        hoverinfo="none",
        hoverongaps=False,
        meta={"looks": "not computed"},
    )


def diamond(reading: Reading) -> dict[str, Any]:
    """The marker of the reach."""
    colour = line(reading.place)["color"]
    return {"symbol": "diamond", "size": 11, "color": colour, "line": {"width": 1.5, "color": "white"}}
