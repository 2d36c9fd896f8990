"""What the weights learn from: the part of dL/dW that comes from each lag, and from all lags up to it."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from throughtime.notation import LAG
from throughtime.report.figures.drawing import diamond, figure, lag_axis, line, owner, text
from throughtime.report.picture import Picture
from throughtime.report.readings import NEARLY_ALL, SEEN, Reading, in_steps

_BEYOND = 1.25  # how far past the longest reach the picture goes, as a factor


def gradient_share(readings: Sequence[Reading]) -> go.Figure:
    """The share of one lag above, its sum over lags below, with the reach as a diamond.

    A share is a projection on the full gradient: it may be slightly negative, and all of them add up to 1.

    Args:
        readings: Those that have weights with a gradient are drawn.
    """
    with_weights = list(filter(_has_shares, readings))
    longest = max(reading.window(NEARLY_ALL) for reading in with_weights)
    first = min(0, *(_first(reading) for reading in with_weights))
    last = min(longest * _BEYOND + 1, max(reading.steps for reading in with_weights))
    drawn = figure(
        height=480,
        showlegend=len(readings) > 1,
        xaxis={"anchor": "y2", **lag_axis(with_weights), "range": [first - 0.02 * last, last]},
        yaxis={"domain": [0.56, 1], "title": "from one lag, %", "tickformat": ".0%"},
    )
    drawn.update_layout(
        yaxis2=drawn.layout.yaxis.to_plotly_json()
        | {"domain": [0, 0.46], "title": {"text": "from all up to it, %"}, "rangemode": "tozero"}
    )
    for reading in with_weights:
        _add(drawn, reading)
    return drawn


def _first(reading: Reading) -> int:
    """The first lag with a part that is seen: below 0 where a layer above reads in the other direction."""
    share = reading.measures["gradient_share"]
    seen = np.abs(share.values) >= SEEN
    return int(share[LAG].values[np.argmax(seen)]) if seen.any() else 0


def _add(drawn: go.Figure, reading: Reading) -> None:
    share = reading.measures["gradient_share"]
    lags, name = share[LAG].values, text(reading.label)
    total = np.cumsum(share.values)
    style = {"x": lags, "legendgroup": name, "line": line(reading.place), "meta": owner(reading)}
    hover = f"{name}<br>lag %{{x}}: %{{y:.2%}} of dL/dW<extra></extra>"
    drawn.add_scatter(**style, y=share.values, name=name, mode="lines", hovertemplate=hover)
    hover = f"{name}<br>lags 0 to %{{x}}: %{{y:.2%}} of dL/dW<extra></extra>"
    drawn.add_scatter(**style, y=total, mode="lines", yaxis="y2", showlegend=False, hovertemplate=hover)
    drawn.add_scatter(
        x=[reading.last_lag],
        y=[np.interp(reading.last_lag, lags, total)],
        yaxis="y2",
        mode="markers",
        cliponaxis=False,
        legendgroup=name,
        showlegend=False,
        marker=diamond(reading),
        meta=owner(reading),
        hovertemplate=f"{name}<br>reach: {in_steps(reading.window(NEARLY_ALL))}<extra></extra>",
    )


def _has_shares(reading: Reading) -> bool:
    return reading.has_weights and reading.has_gradient


GRADIENT_SHARE = Picture(
    title="Share of the weight gradient by lag",
    heading="What the weights learn from",
    lead="The part of dL/dW that comes from each lag, as a projection on the whole gradient. All parts add up to 100 "
    "%.",
    quantities=("gradient_share",),
    draw=gradient_share,
    shows=_has_shares,
    caption=(
        "A part may be slightly negative: it then points against the sum.",
        "Diamond: the last lag in the reach; truncated there, the gradient is within 1 % of the full one in norm.",
    ),
)
