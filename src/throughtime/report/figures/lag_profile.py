"""Lag profiles: ln of the gradient's norm against the lag, all recurrences on one axis."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from throughtime.notation import BOUND, BOUNDS, LAG, STATE
from throughtime.report.figures.drawing import MARK, add_band, diamond, figure, lag_axis, line, owner, text
from throughtime.report.picture import Picture, Remark
from throughtime.report.readings import NEARLY_ALL, Reading, in_steps
from throughtime.report.scale import FLOAT32_SMALLEST


def lag_profile(readings: Sequence[Reading]) -> go.Figure:
    """ln of the mean norm in nats, its interval as a band, and the reach as a diamond.

    The state that is carried is drawn; the hidden state of an LSTM waits in the legend.
    """
    drawn = figure(
        height=420,
        showlegend=sum(reading.measures.sizes[STATE] for reading in readings) > 1,
        xaxis={**lag_axis(readings), "rangemode": "tozero"},
        yaxis={"title": "ln |gradient|, in nats"},
    )
    lowest = 0.0
    for reading in readings:
        profiles = reading.measures[["lag_profile", "lag_profile_interval"]]
        for state in profiles[STATE].values:
            profile = profiles.sel({STATE: state})
            is_carried = str(state) == reading.carried
            name = text(reading.label) + ("" if profiles.sizes[STATE] == 1 else f", {state}")
            lowest = min(lowest, *_finite(profile["lag_profile"]), 0.0)
            _add(drawn, reading, profile, name, is_carried)
    if lowest < FLOAT32_SMALLEST:
        drawn.add_hline(
            FLOAT32_SMALLEST,
            line={"width": 1, "dash": "dot", "color": MARK},
            annotation_text="below here float32 training sees nothing",
            annotation_position="bottom left",
        )
    return drawn


def _add(drawn: go.Figure, reading: Reading, profile: xr.Dataset, name: str, is_carried: bool) -> None:
    style = line(reading.place) if is_carried else line(reading.place) | {"width": 1}
    shown = {"legendgroup": name, "visible": True if is_carried else "legendonly", "meta": owner(reading)}
    lags, nats = profile[LAG].values, profile["lag_profile"].values
    interval = profile["lag_profile_interval"]
    low, high = (interval.sel({BOUND: bound}).values for bound in BOUNDS)
    add_band(drawn, lags, low, high, style["color"], **shown)
    hover = f"{name}<br>lag %{{x}}: %{{y:.4g}} nats<extra></extra>"
    visible = np.where(np.isfinite(nats), nats, np.nan)
    # A line through a single point would not be seen.
    looks = {"mode": "lines"} if np.isfinite(nats).sum() > 1 else {"mode": "markers", "marker": {"size": 8}}
    drawn.add_scatter(x=lags, y=visible, **shown, name=name, line=style, hovertemplate=hover, cliponaxis=False, **looks)
    if not (is_carried and reading.has_gradient):
        return
    at = np.interp(reading.last_lag, lags, nats)
    if np.isfinite(at):
        drawn.add_scatter(
            x=[reading.last_lag],
            y=[at],
            **shown,
            mode="markers",
            cliponaxis=False,
            marker=diamond(reading),
            showlegend=False,
            hovertemplate=f"{name}<br>reach: {in_steps(reading.window(NEARLY_ALL))}<extra></extra>",
        )


def _finite(profile: xr.DataArray) -> list[float]:
    return profile.values[np.isfinite(profile.values)].tolist()


def _has_interval(reading: Reading) -> bool:
    return bool(np.isfinite(reading.measures["lag_profile_interval"]).any())


LAG_PROFILE = Picture(
    title="Lag profile",
    heading="How fast it fades",
    lead="The same gradient against the lag alone. A straight line down is a gradient that shrinks by the same factor "
    "at every step; its slope is the decay rate.",
    quantities=("lag_profile", "lag_profile_interval", "decay_rate", "decay_rate_interval"),
    draw=lag_profile,
    caption=(
        "Root mean square over all steps t and the samples that each reads.",
        Remark("Band: the 95 % interval over what was looked at.", _has_interval),
        Remark("Diamond: the last lag in the reach.", lambda reading: reading.has_gradient),
        Remark("Click a name to hide or show its line.", lambda reading: reading.measures.sizes[STATE] > 1),
    ),
)
