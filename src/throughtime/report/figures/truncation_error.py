"""What a BPTT window costs: the error of the gradient that is cut off at it."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from throughtime.notation import BOUND, BOUNDS, WINDOW
from throughtime.report.figures.drawing import MARK, diamond, figure, line, owner, text, translucent
from throughtime.report.picture import Picture
from throughtime.report.readings import MOST, NEARLY_ALL, Reading, in_steps

# No error below this part is drawn: no training would notice it.
_SMALLEST = 1e-5


def truncation_error(readings: Sequence[Reading]) -> go.Figure:
    """Relative error of the gradient truncated to lags below the window, in percent, on two logarithmic axes.

    Args:
        readings: Those that have one are drawn.
    """
    drawn = figure(
        height=380,
        showlegend=len(readings) > 1 or "detached_error" in readings[0].measures.attrs,
        xaxis={"title": "window K, in steps", "type": "log", "tickformat": "~s", "dtick": 1},
        yaxis={"title": "relative error, %", "type": "log", "tickformat": "~p", "dtick": 1},
    )
    for part in (1 - MOST, 1 - NEARLY_ALL):
        drawn.add_hline(part, line={"width": 1, "dash": "dot", "color": MARK})
    for reading in filter(_has_error, readings):
        _add(drawn, reading)
    return drawn


def _has_error(reading: Reading) -> bool:
    return "truncation_error" in reading.measures and bool(
        np.isfinite(reading.measures["truncation_error"].values).any()
    )


def _add(drawn: go.Figure, reading: Reading) -> None:
    error = reading.measures["truncation_error"].sel({WINDOW: slice(1, None)})
    name, group = text(reading.label), {"legendgroup": text(reading.label), "meta": owner(reading)}
    windows, style = error[WINDOW].values, line(reading.place)
    if "truncation_error_interval" in reading.measures:
        interval = reading.measures["truncation_error_interval"].sel({WINDOW: windows})
        low, high = (interval.sel({BOUND: bound}).values for bound in BOUNDS)
        low, high = np.maximum(low, _SMALLEST), _drawable(high)
        known = np.isfinite(low) & np.isfinite(high)
        drawn.add_scatter(
            x=[*windows[known], *windows[known][::-1]],
            y=[*high[known], *low[known][::-1]],
            fill="toself",
            fillcolor=translucent(style["color"]),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            **group,
        )
    drawn.add_scatter(
        x=windows,
        y=_drawable(error.values),
        name=name,
        mode="lines",
        line=style,
        hovertemplate=f"{name}<br>window of %{{x}} steps: %{{y:.3~p}} from the whole gradient<extra></extra>",
        **group,
    )
    if error_of_cuts := float(reading.measures.attrs.get("detached_error", 0.0)):
        drawn.add_scatter(
            x=windows[[0, -1]],
            y=[error_of_cuts] * 2,
            name=f"{name}, as the model cuts it",
            mode="lines",
            line=style | {"dash": "dot", "width": 1.4},
            hovertemplate=f"{name}<br>as the model cuts it: %{{y:.3~p}} from the whole gradient<extra></extra>",
            **group,
        )
    if not reading.has_gradient:
        return
    window = reading.window(NEARLY_ALL)
    at = _drawable(error.sel({WINDOW: [window]}).values) if window in windows else np.array([np.nan])
    drawn.add_scatter(
        x=[window],
        # Where the window holds everything, its error is zero, which is nowhere on this axis.
        y=np.where(np.isfinite(at), at, 1 - NEARLY_ALL),
        mode="markers",
        cliponaxis=False,
        marker=diamond(reading),
        showlegend=False,
        hovertemplate=f"{name}<br>reach: {in_steps(window)}<extra></extra>",
        **group,
    )


def _drawable(parts: np.ndarray) -> np.ndarray:
    return np.where(parts > _SMALLEST, parts, np.nan)


TRUNCATION_ERROR = Picture(
    title="Error of the truncated gradient by window",
    heading="What a BPTT window costs",
    lead="How far the gradient truncated to a window of K steps is from the whole one. Dotted: an error of 10 % and "
    "of 1 %.",
    quantities=(
        "truncation_error",
        "truncation_error_interval",
        "recommended_window",
        "reach",
        "detached_error",
        "window_error",
    ),
    draw=truncation_error,
    shows=_has_error,
    caption="The band is the 95 % interval over samples and losses. Relative norm of the difference, over all weights "
    "of the recurrence. Diamond: the reach, the window to choose. A line ends where the error is below 0.001 %.",
)
