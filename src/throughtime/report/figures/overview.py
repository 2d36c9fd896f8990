"""All recurrences at a glance: how much gradient is left how many steps back, a row of colours for each."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from throughtime.notation import LAG, STATE
from throughtime.report.figures.blocks import LARGEST_SIDE, block_maximum, centres, rounded
from throughtime.report.figures.drawing import ZERO, figure, lag_axis, not_computed, row_names, text
from throughtime.report.picture import Picture, Remark
from throughtime.report.readings import NEARLY_ALL, Reading
from throughtime.report.scale import scale_of

_ROW = 26  # pixels


def overview(readings: Sequence[Reading]) -> go.Figure:
    """The lag profile of every carried state in nats, in the colours of the maps, with the reach as a diamond."""
    labels = [text(reading.label) for reading in readings]
    lags = np.unique(np.concatenate([reading.measures[LAG].values for reading in readings]))
    profiles = np.stack([_profile(reading, lags) for reading in readings])
    block = -(-len(lags) // LARGEST_SIDE)
    nats, x = block_maximum(profiles, (1, block)), centres(lags, block)
    drawn = figure(
        height=90 + _ROW * len(readings),
        margin={"l": 56, "r": 12, "t": 8, "b": 48},
        plot_bgcolor=ZERO,
        coloraxis=scale_of(readings).coloraxis,
        showlegend=False,
        xaxis={
            **lag_axis(readings),
            "range": [lags[0] - 0.5, lags[-1] + 0.5],
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "range": [len(readings) - 0.5, -0.5],
            "showgrid": False,
            "zeroline": False,
            "tickvals": labels,
            "ticktext": row_names(readings),
        },
        meta={"kind": "overview", "readings": [reading.place for reading in readings]},
    )
    drawn.add_heatmap(
        z=rounded(nats),
        x=x,
        y=labels,
        ygap=2,
        coloraxis="coloraxis",
        hovertemplate="%{y}<br>%{x} steps back: %{z} nats<extra></extra>",
    )
    if np.isnan(nats).any():
        drawn.add_trace(not_computed(nats, x, labels))
    arrives = [reading for reading in readings if reading.has_gradient]
    drawn.add_scatter(
        x=[reading.last_lag for reading in arrives],
        customdata=[reading.window(NEARLY_ALL) for reading in arrives],
        y=[text(reading.label) for reading in arrives],
        mode="markers",
        cliponaxis=False,
        marker={"symbol": "diamond", "size": 11, "color": "white", "line": {"width": 1.5, "color": "black"}},
        hovertemplate="%{y}<br>reach: %{customdata} steps<extra></extra>",
    )
    return drawn


def _profile(reading: Reading, lags: np.ndarray) -> np.ndarray:
    """On the lags of all; NaN beyond its own. Below them, where a loss would depend on what follows, it is zero."""
    profile = _carried(reading)
    on_lags = np.where(lags < profile[LAG].values[0], -np.inf, np.nan)
    on_lags[np.searchsorted(lags, profile[LAG].values)] = profile.values
    return on_lags


def _carried(reading: Reading) -> xr.DataArray:
    return reading.measures["lag_profile"].sel({STATE: reading.carried})


OVERVIEW = Picture(
    title="Gradient by recurrence and steps back",
    heading="All recurrences at a glance",
    lead="A row for every recurrence: at 0 the step of the loss, to the right what was read before it. The colour is "
    "the logarithm of the gradient that is left there.",
    lead_without_loss="A row for every recurrence: at 0 step t, to the right what was read before it. The colour is "
    "the logarithm of what is left of a random direction there.",
    quantities=(),
    draw=overview,
    caption=(
        "Root mean square over all steps t and the samples that each reads.",
        Remark("Grey: exactly zero.", lambda reading: bool((_carried(reading).values == -np.inf).any())),
        Remark("Diamond: the last lag in the reach.", lambda reading: reading.has_gradient),
    ),
    least=2,
)
