"""Three estimates of the rate at which a gradient changes, side by side, and what makes them differ."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from throughtime.notation import BOUND, BOUNDS, STANDARD_ERRORS, STATE
from throughtime.report.figures.drawing import MARK, figure, line, row_names, text
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading

# By variable, what it is called, its line in the house's looks, and its marker.
_ESTIMATES = {
    "decay_rate": ("slope of the lag profile", 0, "circle"),
    "lyapunov": ("largest Lyapunov exponent", 1, "diamond"),
    "mean_jacobian": ("eigenvalue of the mean step", 2, "square"),
}
_REASONS = {
    "non_normality": ("non-normality", 3, "cross"),
    "drift": ("drift", 4, "triangle-right"),
    "fluctuation": ("fluctuation", 5, "x"),
}
_ROW, _BETWEEN = 42, 66  # pixels of a recurrence, and between the halves


def rates(readings: Sequence[Reading]) -> go.Figure:
    """Above, the estimates with their 95 % intervals; below, what each of them leaves out; all in nats per step.

    Args:
        readings: Those whose mean step is known are drawn.
    """
    measured = [reading for reading in readings if _has_mean(reading)]
    rows = _ROW * len(measured)
    height = 2 * rows + _BETWEEN
    names = {
        "tickvals": list(range(len(measured))),
        "ticktext": row_names(measured),
        "range": [len(measured) - 0.5, -0.5],
        "showgrid": False,
        "zeroline": False,
    }
    drawn = figure(
        height=height + 90,
        showlegend=True,
        xaxis={"title": "rate, in nats per step", "anchor": "y", "title_standoff": 4, "zeroline": False},
        yaxis={"domain": [(rows + _BETWEEN) / height, 1], **names},
    )
    drawn.update_layout(
        xaxis2=drawn.layout.xaxis.to_plotly_json()
        | {"title": {"text": "difference, in nats per step"}, "anchor": "y2"},
        yaxis2=drawn.layout.yaxis.to_plotly_json() | {"domain": [0, rows / height]},
    )
    for half, shown in (("", _ESTIMATES), ("2", _REASONS)):
        along = {"xref": f"x{half}", "yref": f"y{half} domain", "x0": 0, "x1": 0, "y0": 0, "y1": 1}
        drawn.add_shape(type="line", **along, line={"width": 1, "dash": "dot", "color": MARK})
        for place, (quantity, (name, number, symbol)) in enumerate(shown.items()):
            _add(drawn, measured, quantity, (place - 1) * 0.22, half, name=name, number=number, symbol=symbol)
    return drawn


def _add(drawn: go.Figure, readings: Sequence[Reading], quantity: str, aside: float, half: str, **looks: Any) -> None:
    found = [_estimate(reading, quantity) for reading in readings]
    name, colour = looks["name"], line(looks["number"])["color"]
    drawn.add_scatter(
        x=[value if math.isfinite(value) else None for value, _, _ in found],
        y=[row + aside for row in range(len(readings))],
        error_x={
            "type": "data",
            "array": [high - value if math.isfinite(high) else 0 for value, _, high in found],
            "arrayminus": [value - low if math.isfinite(low) else 0 for value, low, _ in found],
            "thickness": 1.4,
            "width": 3,
        },
        xaxis=f"x{half}",
        yaxis=f"y{half}",
        name=name,
        mode="markers",
        cliponaxis=False,
        marker={"size": 9, "symbol": looks["symbol"], "color": colour},
        meta={"readings": [reading.place for reading in readings]},
        customdata=[text(reading.label) for reading in readings],
        hovertemplate=f"%{{customdata}}<br>{name}: %{{x:.3g}} nats per step<extra></extra>",
    )


def _estimate(reading: Reading, quantity: str) -> tuple[float, float, float]:
    """The value and the ends of its interval, NaN where there is none."""
    measures = reading.measures
    if quantity not in measures:
        return math.nan, math.nan, math.nan
    if quantity == "decay_rate":
        interval = measures["decay_rate_interval"].sel({STATE: reading.carried})
        low, high = (float(interval.sel({BOUND: bound})) for bound in BOUNDS)
        return float(measures["decay_rate"].sel({STATE: reading.carried})), low, high
    if quantity == "lyapunov":
        value, error = (float(measures[name][0]) for name in ("lyapunov", "lyapunov_error"))
        return value, value - STANDARD_ERRORS * error, value + STANDARD_ERRORS * error
    return float(measures[quantity]), math.nan, math.nan


def _has_mean(reading: Reading) -> bool:
    return "mean_jacobian" in reading.measures


RATES = Picture(
    title="Three estimates of the decay",
    heading="Whether the estimates of its decay agree",
    lead="Above, the slope of the lag profile is what became of this loss over this sequence; the largest Lyapunov "
    "exponent is what the states do to any gradient in the long run; the largest eigenvalue of the mean step Jacobian "
    "is what they would do if all steps were alike. Below is what makes them differ.",
    quantities=("mean_jacobian", *_REASONS),
    draw=rates,
    shows=_has_mean,
    caption=(
        "Bars: 95 %.",
        "Non-normality: how much further than its eigenvalues say the mean step stretches some direction.",
        "Drift: how much more the steps of the second half stretch than those of the first.",
        "Fluctuation: how far single steps are from their mean, since the input drives them.",
    ),
)
