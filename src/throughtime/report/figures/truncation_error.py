"""What a BPTT window costs: the error of the gradient that is cut off at it."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from throughtime.notation import BOUND, BOUNDS, WINDOW
from throughtime.report.figures.drawing import MARK, add_band, diamond, figure, line, owner, text
from throughtime.report.picture import Picture, Remark
from throughtime.report.readings import MOST, NEARLY_ALL, Reading, in_steps

# No error below this part is drawn: no training would notice it.
_SMALLEST = 1e-5
# Windows up to which an axis has ticks within a decade.
_FEW_DECADES = 1000


def truncation_error(readings: Sequence[Reading]) -> go.Figure:
    """Relative error of the gradient truncated to lags below the window, in percent, on two logarithmic axes.

    Args:
        readings: Those that have one are drawn.
    """
    drawn = figure(
        height=380,
        showlegend=len(readings) > 1 or bool(_cuts(readings[0])),
        xaxis={
            "title": "window K, in steps",
            "type": "log",
            "tickformat": "~s",
            # Of few decades, 2 and 5 have ticks, too.
            "dtick": "D2" if max(reading.steps for reading in readings) <= _FEW_DECADES else 1,
        },
        yaxis={"title": "relative error, %", "type": "log", "tickformat": "~p", "dtick": 1},
    )
    for part in (1 - MOST, 1 - NEARLY_ALL):
        drawn.add_hline(part, line={"width": 1, "dash": "dot", "color": MARK})
    having = list(filter(_has_error, readings))
    lowest = min([1 - NEARLY_ALL, *map(_lowest, having)])
    for reading in having:
        _add(drawn, reading, lowest)
    return drawn


def _has_error(reading: Reading) -> bool:
    return "truncation_error" in reading.measures and reading.has_gradient


def _cuts(reading: Reading) -> dict[str, float]:
    """The errors of the gradient that training gets, where it cuts the graph, by how it does."""
    attrs = reading.measures.attrs
    found = {
        "as the model cuts it": float(attrs.get("detached_error", 0.0)),
        f"cut after every {in_steps(attrs.get('window'))}": float(attrs.get("window_error", 0.0)),
    }
    return {cut: error for cut, error in found.items() if error > _SMALLEST}


def _error(reading: Reading) -> xr.DataArray:
    return reading.measures["truncation_error"].sel({WINDOW: slice(1, None)})


def _lowest(reading: Reading) -> float:
    """The smallest error that is drawn."""
    error = _error(reading).values
    return min(error[error > _SMALLEST].tolist(), default=1.0)


def _add(drawn: go.Figure, reading: Reading, lowest: float) -> None:
    error = _error(reading)
    name, group = text(reading.label), {"legendgroup": text(reading.label), "meta": owner(reading)}
    windows, style = error[WINDOW].values, line(reading.place)
    if "truncation_error_interval" in reading.measures:
        interval = reading.measures["truncation_error_interval"].sel({WINDOW: windows})
        low, high = (interval.sel({BOUND: bound}).values for bound in BOUNDS)
        low, high = np.maximum(low, lowest), np.where(high > lowest, high, np.nan)
        add_band(drawn, windows, low, high, style["color"], **group)
    ending = _ending(error.values)
    drawn.add_scatter(
        x=windows,
        y=ending,
        customdata=error.values,
        name=name,
        mode="lines",
        line=style,
        hovertemplate=f"{name}<br>window of %{{x}} steps: %{{customdata:.3~p}} from the whole gradient<extra></extra>",
        **group,
    )
    for cut, error_of_cut in _cuts(reading).items():
        drawn.add_scatter(
            x=windows[[0, -1]],
            y=[error_of_cut] * 2,
            name=f"{name}, {cut}",
            mode="lines",
            line=style | {"dash": "dot", "width": 1.4},
            hovertemplate=f"{name}<br>{cut}: %{{y:.3~p}} from the whole gradient<extra></extra>",
            **group,
        )
    window = reading.window(NEARLY_ALL)
    at = ending[windows == window]
    drawn.add_scatter(
        x=[window],
        y=at if np.isfinite(at).any() else [1 - NEARLY_ALL],
        mode="markers",
        cliponaxis=False,
        marker=diamond(reading),
        showlegend=False,
        hovertemplate=f"{name}<br>reach: {in_steps(window)}<extra></extra>",
        **group,
    )


def _ending(errors: np.ndarray) -> np.ndarray:
    """The errors that are drawn; where one of more than 1 % is followed by nothing, the line leads to the diamond."""
    drawn = np.where(errors > _SMALLEST, errors, np.nan)
    gone = np.flatnonzero(errors <= _SMALLEST)[:1]
    if len(gone) and np.nanmin(drawn, initial=1.0) > 1 - NEARLY_ALL:
        drawn[gone] = 1 - NEARLY_ALL
    return drawn


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
    caption=(
        "Relative norm of the difference, over all weights of the recurrence.",
        "Diamond: the reach, the window to choose.",
        "A line ends where the error is below 0.001 %; where the reach leaves nothing out, its diamond stands at 1 %.",
        Remark(
            "Band: the 95 % interval over samples and losses; where it goes down to the bottom, so few do not tell the "
            "error from none.",
            lambda reading: bool(np.isfinite(reading.measures.get("truncation_error_interval", np.nan)).any()),
        ),
    ),
)
