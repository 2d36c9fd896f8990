"""What shrinks the gradient on average: nats per step, by cause."""

from collections.abc import Sequence

import plotly.graph_objects as go

from throughtime.notation import CAUSE
from throughtime.report.figures.causes_by_lag import accumulated
from throughtime.report.figures.drawing import CAUSES, INK, INKED, OTHER_CAUSE, figure, hatched, row_names, text
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading


def mean_causes(readings: Sequence[Reading]) -> go.Figure:
    """One bar per recurrence, the causes side by side along it: losses to the left of zero, gains to the right.

    Args:
        readings: Those that are recurrences are drawn.
    """
    readings = [reading for reading in readings if reading.is_recurrence]
    labels = [text(reading.label) for reading in readings]
    drawn = figure(
        height=80 + 40 * len(readings),
        barmode="relative",
        bargap=0.35,
        xaxis={"title": "nats per step"},
        yaxis={
            "autorange": "reversed",
            "showgrid": False,
            "tickvals": labels,
            "ticktext": row_names(readings),
        },
        showlegend=False,
    )
    means = [_means(reading) for reading in readings]
    for cause, (colour, pattern) in causes_drawn(readings).items():
        values = [mean.get(cause) for mean in means]
        drawn.add_bar(
            x=values,
            y=labels,
            orientation="h",
            name=text(cause),
            marker=hatched(colour, pattern),
            meta={"readings": [reading.place for reading in readings]},
            hovertemplate=f"%{{y}}<br>{text(cause)}: %{{x:.4g}} nats per step<extra></extra>",
        )
    drawn.add_scatter(
        x=[sum(mean.values()) for mean in means],
        y=labels,
        mode="markers",
        meta=INKED | {"readings": [reading.place for reading in readings]},
        marker={"symbol": "diamond", "size": 10, "color": "white", "line": {"width": 2, "color": INK}},
        hovertemplate="%{y}<br>all causes: %{x:.4g} nats per step<extra></extra>",
    )
    return drawn


def causes_drawn(readings: Sequence[Reading]) -> dict[str, tuple[str, str]]:
    """Colour and hatching of every cause that some recurrence has, in the order of the picture."""
    found = {str(cause) for reading in readings for cause in reading.causes[CAUSE].values}
    known = {cause: looks for cause, looks in CAUSES.items() if cause in found}
    return known | dict.fromkeys(sorted(found.difference(CAUSES)), OTHER_CAUSE)


def _means(reading: Reading) -> dict[str, float]:
    lags, totals = accumulated(reading)
    return {cause: float(total[-1] / lags[-1]) if lags[-1] else 0.0 for cause, total in totals.items()}


MEAN_CAUSES = Picture(
    title="Mean change per step by cause",
    heading="What shrinks it",
    lead="Every step back changes the logarithm of the gradient’s norm by a sum of named causes. Per step, on "
    "average; the diamond is all causes together.",
    quantities=("causes", "activation slope", "weights", *CAUSES),
    draw=mean_causes,
    shows=lambda reading: reading.is_recurrence,
)
