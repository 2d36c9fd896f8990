"""The direct derivative beside the total one: what a hook on the layer's output shows, and what matters."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import xarray as xr

from throughtime.notation import LOSS_STEP, STATE
from throughtime.report.figures.drawing import figure, line, owner, text
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading


def direct_derivative(readings: Sequence[Reading]) -> go.Figure:
    """ln |dl_t/ds_t| along the readout alone, thin, and ln |dL/ds_t| of all losses, thick, in nats over t.

    Args:
        readings: Those in which several losses were followed are drawn.
    """
    drawn = figure(
        height=380,
        showlegend=len(readings) > 1,
        xaxis={"title": "step t"},
        yaxis={"title": "ln |derivative|, in nats"},
    )
    for reading in filter(_has_both, readings):
        direct, total = (reading.measures[f"{kind}_derivative"].isel({STATE: 0}) for kind in ("direct", "total"))
        name, style = text(reading.label), line(reading.place)
        # The total derivative is taken at some steps only, which are marked and joined.
        for values, called, width in ((total.where(total.notnull(), drop=True), "total", 2.4), (direct, "direct", 1.1)):
            drawn.add_scatter(
                x=values[LOSS_STEP].values,
                y=_finite(values),
                name=name,
                legendgroup=name,
                showlegend=called == "total",
                mode="lines" if called == "direct" else "lines+markers",
                line=style | {"width": width, "dash": "solid" if called == "direct" else style["dash"]},
                meta=owner(reading),
                hovertemplate=f"{name}, {called}<br>step %{{x}}: %{{y:.4g}} nats<extra></extra>",
            )
    return drawn


def _finite(nats: xr.DataArray) -> np.ndarray:
    return np.where(np.isfinite(nats.values), nats.values, np.nan)


def _has_both(reading: Reading) -> bool:
    measures = reading.measures
    return {"direct_derivative", "total_derivative"} <= set(measures) and measures.sizes[LOSS_STEP] > 1


DIRECT_DERIVATIVE = Picture(
    title="Direct and total derivative",
    heading="What a hook would show, and what matters",
    lead="Thin: the derivative of the loss at t along the readout alone, which a hook on the layer’s output sees. "
    "Thick, at the states that are marked: the derivative of all losses with respect to the same state, with what "
    "comes back through time. The two are equal where nothing does.",
    quantities=("direct_derivative", "total_derivative"),
    draw=direct_derivative,
    shows=_has_both,
    caption=("Of the hidden state h, or what stands in its place; root mean square over the samples.",),
)
