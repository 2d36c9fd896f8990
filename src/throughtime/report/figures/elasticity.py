"""Elasticity: how much of a loss hangs on the state that it reads."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from throughtime.notation import LOSS_STEP, STATE
from throughtime.report.figures.drawing import MARK, figure, line, owner, text
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading


def elasticity(readings: Sequence[Reading]) -> go.Figure:
    """ln of the part of itself by which loss t would change at most with its state, in nats over t; dotted: all of it.

    Args:
        readings: Those in which it was measured are drawn.
    """
    drawn = figure(
        height=340,
        showlegend=len(readings) > 1,
        xaxis={"title": "loss step t"},
        yaxis={"title": "ln of the part, in nats", "zeroline": False},
    )
    drawn.add_hline(0, line={"width": 1, "dash": "dot", "color": MARK})
    for reading in filter(_has_elasticity, readings):
        values, name = reading.measures["elasticity"].isel({STATE: 0}), text(reading.label)
        drawn.add_scatter(
            x=values[LOSS_STEP].values,
            y=np.where(np.isfinite(values.values), values.values, np.nan),
            name=name,
            # A single loss is a point.
            mode="lines+markers" if values.size == 1 else "lines",
            line=line(reading.place),
            meta=owner(reading),
            hovertemplate=f"{name}<br>loss %{{x}}: %{{y:.4g}} nats<extra></extra>",
        )
    return drawn


def _has_elasticity(reading: Reading) -> bool:
    measures = reading.measures
    return "elasticity" in measures and bool(np.isfinite(measures["elasticity"].isel({STATE: 0}).values).any())


ELASTICITY = Picture(
    title="Elasticity of the losses",
    heading="How much of a loss hangs on the state",
    lead="By what part of itself a loss would change at most, were the state that it reads gone: at the dotted line "
    "by all of it. Far below, the readout hardly reads the recurrence, and what it does hardly matters.",
    quantities=("elasticity", "state_norm"),
    draw=elasticity,
    shows=_has_elasticity,
    caption=("To first order: the norm of the direct derivative times that of the state, over the loss.",),
)
