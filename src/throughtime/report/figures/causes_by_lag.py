"""What shrank the gradient, from the last step back to the first: a waterfall in nats."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from throughtime.notation import CAUSE, LAG
from throughtime.report.figures.drawing import CAUSES, INK, INKED, OTHER_CAUSE, figure, text, translucent
from throughtime.report.picture import Panel, Picture
from throughtime.report.readings import Reading


def causes_by_lag(reading: Reading, span: tuple[float, float]) -> go.Figure:
    """The causes added up from lag 0 back, in nats: losses below zero, gains above, and their sum as a line.

    Args:
        reading: The recurrence.
        span: Lowest and highest nats of all panels of the page.
    """
    lags, totals = accumulated(reading)
    named: set[str] = set()
    drawn = figure(
        height=330,
        xaxis={"title": "way back, in steps", "range": [0, int(lags[-1]) or 1]},
        yaxis={"title": "change of ln |gradient|, in nats", "range": list(span)},
        showlegend=False,
    )
    for cause, total in totals.items():
        colour, pattern = CAUSES.get(cause, OTHER_CAUSE)
        for sign, part in (("losses", np.minimum(total, 0)), ("gains", np.maximum(total, 0))):
            if not part.any():
                continue
            drawn.add_scatter(
                x=lags,
                y=part,
                name=text(cause),
                legendgroup=cause,
                showlegend=cause not in named,
                stackgroup=sign,
                mode="lines",
                line={"width": 1, "color": colour},
                fillcolor=translucent(colour, 0.55),
                fillpattern={"shape": pattern, "fgcolor": colour, "bgcolor": translucent(colour, 0.45), "size": 7},
                hovertemplate=f"{text(cause)}: %{{y:.4g}} nats<br>over %{{x}} steps back<extra></extra>",
            )
            named.add(cause)
    drawn.add_scatter(
        x=lags,
        y=sum(totals.values()),
        name="all causes",
        mode="lines",
        line={"width": 2.6, "color": INK},
        meta=INKED,
        hovertemplate="all causes: %{y:.4g} nats<br>over %{x} steps back<extra></extra>",
    )
    return drawn


def accumulated(reading: Reading) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Steps back from the loss, from 0, and by cause the nats added up over them.

    It ends where a cause is not finite: the gradient is exactly zero from there on, or nothing was measured.
    """
    nats = reading.causes["nats_by_lag"].transpose(CAUSE, LAG)
    finite = np.isfinite(nats.values).all(axis=0)
    end = len(finite) if finite.all() else int(np.argmin(finite))
    # The causes at lag k lead from lag k to k + 1; on an uneven grid they stand for all lags up to the next.
    lags = nats[LAG].values[:end]
    widths = np.diff(lags, append=lags[-1:] + 1)
    ends = np.cumsum(widths)
    totals = {
        str(cause): np.concatenate([[0.0], np.cumsum(values[:end] * widths)])
        for cause, values in zip(nats[CAUSE].values, nats.values, strict=True)
    }
    return np.concatenate([[0], ends]), totals


def whole_span(readings: Sequence[Reading]) -> tuple[float, float]:
    """The lowest and highest nats that the panels of all readings need."""
    lows, highs = [0.0], [0.0]
    for reading in readings:
        stacked = np.array(list(accumulated(reading)[1].values()))
        lows.append(float(np.minimum(stacked, 0).sum(axis=0).min()))
        highs.append(float(np.maximum(stacked, 0).sum(axis=0).max()))
    room = 0.04 * (max(highs) - min(lows)) or 1.0
    return min(lows) - room, max(highs) + room


def _alone(readings: Sequence[Reading]) -> go.Figure:
    return causes_by_lag(readings[0], whole_span(readings[:1])).update_layout(showlegend=True)


def _panels(readings: Sequence[Reading]) -> list[Panel]:
    readings = [reading for reading in readings if reading.is_recurrence]
    span = whole_span(readings)
    return [
        Panel(
            reading,
            Markup("state {}").format(reading.causes.attrs.get("state", reading.carried)),
            causes_by_lag(reading, span),
        )
        for reading in readings
    ]


CAUSES_BY_LAG = Picture(
    title="Causes along the way back",
    heading="What shrinks it, added up on the way back",
    lead="The same causes added up, from the last step back to the first. The line is the sum of all causes: what the "
    "gradient has lost on the way.",
    quantities=("nats_by_lag",),
    draw=_alone,
    shows=lambda reading: reading.is_recurrence,
    panels=_panels,
)
