"""Memory forwards beside the gradient backwards: what an input still does to the state, and what a loss sends back."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from throughtime.notation import LAG, STATE
from throughtime.report.figures.drawing import figure, lag_axis, line, owner, text
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading


def forward_memory(readings: Sequence[Reading]) -> go.Figure:
    """Above, forwards: ln |dh_t/dx_i|. Below, backwards: the lag profile. Both from their value at lag 0, in nats.

    Args:
        readings: Those that have a forward memory are drawn.
    """
    remembering = [reading for reading in readings if "forward_memory" in reading.measures]
    drawn = figure(
        height=480,
        showlegend=len(remembering) > 1,
        xaxis={"anchor": "y2", **lag_axis(remembering), "rangemode": "tozero"},
        yaxis={"domain": [0.54, 1], "title": "forwards, in nats"},
    )
    drawn.update_layout(
        # One range for both, so that the slopes can be compared.
        yaxis2=drawn.layout.yaxis.to_plotly_json()
        | {"domain": [0, 0.46], "title": {"text": "backwards, in nats"}, "matches": "y"}
    )
    for reading in remembering:
        name = text(reading.label)
        profile = reading.measures["lag_profile"].sel({STATE: reading.carried})
        forwards, backwards = _from_start(reading.measures["forward_memory"]), _from_start(profile)
        style = {
            "x": forwards[LAG].values,
            "mode": "lines",
            "legendgroup": name,
            "line": line(reading.place),
            "meta": owner(reading),
        }
        hover = f"{name}, %{{x}} steps on<br>ln |dh/dx|: %{{y:.4g}} nats from its start<extra></extra>"
        drawn.add_scatter(**style, y=forwards.values, name=name, hovertemplate=hover)
        hover = f"{name}, %{{x}} steps back<br>ln |gradient|: %{{y:.4g}} nats from its start<extra></extra>"
        drawn.add_scatter(**style, y=backwards.values, yaxis="y2", showlegend=False, hovertemplate=hover)
    return drawn


def _from_start(nats: xr.DataArray) -> xr.DataArray:
    """From lag 0 on, less the value there; what is not finite is left out."""
    nats = nats.sel({LAG: slice(0, None)})
    return (nats - nats.isel({LAG: 0})).where(np.isfinite(nats))


FORWARD_MEMORY = Picture(
    title="Memory forwards, gradient backwards",
    heading="What it remembers, beside what it can learn",
    lead="Above, how much a change of the input x at step i still moves the hidden state h at step t. Below, how much "
    "of the gradient at step t is left at step i. Where the state remembers and the gradient is gone, or the other "
    "way round, the two lines of a recurrence part.",
    quantities=("forward_memory",),
    draw=forward_memory,
    shows=lambda reading: "forward_memory" in reading.measures,
    caption=(
        "Change of the logarithm since lag 0, both on one scale. An input that leaves no trace from lag 0 on has "
        "no line.",
    ),
)
