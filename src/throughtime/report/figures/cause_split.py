"""The causes of one finding: how many nats each of them takes or gives, as bars."""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from throughtime.notation import ENTERING
from throughtime.report.figures.causes_by_lag import accumulated
from throughtime.report.figures.drawing import CAUSES, INK, INKED, OTHER_CAUSE, figure, hatched, text
from throughtime.report.readings import Reading

SUM = "their sum"


def cause_split(causes: Mapping[str, float], reading: Reading) -> go.Figure:
    """A bar for every cause, losses to the left of zero and gains to the right, and their sum as the last.

    What joins the gradient on its way is no fault of the recurrence, so no finding names it; it belongs to the sum.

    Args:
        causes: Nats by cause, over all lags.
        reading: The recurrence.
    """
    causes = {**causes, **_entering(reading)}
    bars = {**causes, SUM: sum(causes.values())}
    # The number stands at the name: it is read without a pointer, and no bar is in its way.
    labels = [f"{text(name)} {words}" for name, words in zip(bars, _in_words([*bars.values()]), strict=True)]
    drawn = figure(
        height=56 + 22 * len(bars),
        margin={"l": 56, "r": 16, "t": 4, "b": 44},
        showlegend=False,
        bargap=0.25,
        xaxis={"title": "nats, over all lags"},
        yaxis={"autorange": "reversed", "showgrid": False},
    )
    for label, (name, value) in zip(labels, bars.items(), strict=True):
        colours = (INK, "") if name == SUM else CAUSES.get(name, OTHER_CAUSE)
        drawn.add_bar(
            x=[value],
            y=[label],
            orientation="h",
            marker=hatched(*colours),
            meta=INKED if name == SUM else None,
            hovertemplate="%{y} nats<extra></extra>",
        )
    return drawn


def _in_words(nats: Sequence[float]) -> list[str]:
    """To as many decimals as the largest has with three digits; what is less is 0."""
    largest = max(map(abs, nats))
    decimals = max(0, 2 - math.floor(math.log10(largest))) if largest else 0
    rounded = [round(value, decimals) for value in nats]
    return [f"{value:+.{decimals}f}".replace("-", "−") if value else "0" for value in rounded]


def _entering(reading: Reading) -> dict[str, float]:
    """What joined on the way, over all lags but that of the initial state; nothing where nothing did."""
    lags, totals = accumulated(reading)
    nats = totals.get(ENTERING)
    if nats is None:
        return {}
    last = int(min(lags[-1], reading.steps - 1))
    value = float(nats[lags <= last][-1])
    return {ENTERING: value} if abs(value) >= 0.005 else {}
