"""Every picture of the report: its title, what draws it, and of which recurrences.

The names are those of the anchors on the page and of the methods of `exam.plot`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from throughtime.notation import STATE
from throughtime.report.figures import (
    causes_by_lag,
    gradient_map,
    gradient_share,
    lag_profile,
    mean_causes,
    step_jacobian,
    time_constants,
)
from throughtime.report.figures.causes_by_lag import whole_span
from throughtime.report.readings import Reading
from throughtime.report.scale import shared_scale


@dataclass(frozen=True)
class Picture:
    """One picture.

    Args:
        title: What it shows.
        draw: The figure of some readings; those that it has nothing of are left out of it.
        shows: Whether it has anything of a reading.
    """

    title: str
    draw: Callable[[Sequence[Reading]], go.Figure]
    shows: Callable[[Reading], bool] = lambda reading: True


def _map(readings: Sequence[Reading]) -> go.Figure:
    return map_of(readings[0], readings[0].carried)


def map_of(reading: Reading, state: str) -> go.Figure:
    """The map of one state with a colour scale of its own beside it."""
    drawn = gradient_map(reading, state, shared_scale([reading.measures["gradient_map"].sel({STATE: state}).values]))
    return drawn.update_layout(coloraxis_showscale=True)


def _causes(readings: Sequence[Reading]) -> go.Figure:
    beside = {"orientation": "v", "x": 1.02, "y": 1, "yanchor": "top"}
    return causes_by_lag(readings[0], whole_span(readings[:1])).update_layout(showlegend=True, legend=beside)


# Pictures of one recurrence: on the page, each has a panel of its own.
ALONE: dict[str, Picture] = {
    "gradient_map": Picture(
        "Gradient map", _map, lambda reading: {LOSS_STEP, STATE_STEP} <= set(reading.measures.dims)
    ),
    "causes": Picture("Causes along the way back", _causes, lambda reading: reading.is_recurrence),
}

# Pictures of any number of recurrences on common axes.
TOGETHER: dict[str, Picture] = {
    "lag_profile": Picture("Lag profile", lag_profile),
    "gradient_share": Picture(
        "Share of the weight gradient by lag", gradient_share, lambda reading: reading.has_weights
    ),
    "mean_causes": Picture("Mean change per step by cause", mean_causes, lambda reading: reading.is_recurrence),
    "time_constants": Picture(
        "Time constants of the units", time_constants, lambda reading: bool(reading.time_constants.size)
    ),
    "step_jacobian": Picture(
        "Norms of the step Jacobians", step_jacobian, lambda reading: "step_jacobian" in reading.measures
    ),
}
