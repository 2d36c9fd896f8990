"""Padding: what part of the steps holds no data, and what part of the gradient arrives there."""

from collections.abc import Sequence

import plotly.graph_objects as go

from throughtime.report.figures.drawing import CAUSES, OTHER_CAUSE, figure, hatched, row_names, text
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading

_ROW = 52  # pixels


def padding(readings: Sequence[Reading]) -> go.Figure:
    """For every recurrence two bars in percent: steps that are padding, and the squared gradient that arrives there.

    Args:
        readings: Those that read padding are drawn.
    """
    padded = [reading for reading in readings if _is_padded(reading)]
    labels = [text(reading.label) for reading in padded]
    drawn = figure(
        height=110 + _ROW * len(padded),
        barmode="group",
        bargap=0.3,
        showlegend=True,
        xaxis={"title": "part, %", "tickformat": ".0%", "range": [0, 1]},
        yaxis={"autorange": "reversed", "showgrid": False, "tickvals": labels, "ticktext": row_names(padded)},
    )
    shown = {
        "of the steps": ([float(reading.measures.attrs["padded"]) for reading in padded], OTHER_CAUSE),
        "of the squared gradient": (
            [float(reading.measures["padding_share"]) for reading in padded],
            next(iter(CAUSES.values())),
        ),
    }
    for name, (parts, looks) in shown.items():
        drawn.add_bar(
            x=parts,
            y=labels,
            orientation="h",
            name=name,
            marker=hatched(*looks),
            meta={"readings": [reading.place for reading in padded]},
            hovertemplate=f"%{{y}}<br>padding has %{{x:.1%}} {name}<extra></extra>",
        )
    return drawn


def _is_padded(reading: Reading) -> bool:
    return "padding_share" in reading.measures


PADDING = Picture(
    title="Padding",
    heading="What padding takes",
    lead="Inputs that only repeat after a sample has ended hold no data. Where more than half of the gradient arrives "
    "there, the weights learn from padding first.",
    quantities=("padding_share", "padded"),
    draw=padding,
    shows=_is_padded,
)
