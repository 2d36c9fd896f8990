"""Step Jacobians: what single steps do to the length of a gradient."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from throughtime.notation import FIRST_SAMPLE, LARGEST, MEAN, NORM, STEP
from throughtime.report.figures.drawing import MARK, add_band, figure, line, owner, text
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading


def step_jacobian(readings: Sequence[Reading]) -> go.Figure:
    """ln of the largest singular value over steps, median of the samples, with their range as a band.

    The root mean square of all singular values waits in the legend.

    Args:
        readings: Those that have step Jacobians are drawn.
    """
    drawn = figure(
        height=360,
        showlegend=True,
        xaxis={"title": "step i"},
        yaxis={"title": "ln |ds<sub>i</sub>/ds<sub>i−1</sub>|, in nats", "zeroline": False},
    )
    drawn.add_hline(0, line={"width": 1, "dash": "dot", "color": MARK})
    for reading in readings:
        if "step_jacobian" not in reading.measures:
            continue
        norms = reading.measures["step_jacobian"].transpose(NORM, STEP, FIRST_SAMPLE)
        name = text(reading.label)
        for norm, called in ((LARGEST, name), (MEAN, f"{name}, mean")):
            _add(drawn, norms[STEP].values, norms.sel({NORM: norm}).values, called, reading, norm == LARGEST)
    return drawn


def _add(drawn: go.Figure, steps: np.ndarray, nats: np.ndarray, name: str, reading: Reading, shown: bool) -> None:
    nats = np.where(np.isfinite(nats), nats, np.nan)
    known = np.isfinite(nats).all(axis=1)
    style = line(reading.place) if shown else line(reading.place) | {"width": 1}
    group = {"legendgroup": name, "visible": True if shown else "legendonly", "meta": owner(reading)}
    if nats.shape[1] > 1:
        add_band(drawn, steps, nats.min(axis=1), nats.max(axis=1), style["color"], **group)
    middle = np.full(len(steps), np.nan)
    middle[known] = np.median(nats[known], axis=1)
    drawn.add_scatter(
        x=steps,
        y=middle,
        name=name,
        mode="lines",
        line=style,
        hovertemplate=f"{name}<br>step %{{x}}: %{{y:.4g}} nats<extra></extra>",
        **group,
    )


STEP_JACOBIAN = Picture(
    title="Norms of the step Jacobians",
    heading="What a single step does",
    lead="The largest singular value of a step Jacobian is the most by which that step can lengthen a gradient: below "
    "the dotted line at 0 it shortens every one.",
    quantities=("step_jacobian",),
    draw=step_jacobian,
    shows=lambda reading: "step_jacobian" in reading.measures,
    caption=(
        "s is the full state: h, or h and c. Median of the samples; the band is their range. The mean, root mean "
        "square, of all singular values, which is what becomes of a random direction, waits in the legend.",
    ),
)
