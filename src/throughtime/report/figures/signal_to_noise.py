"""Signal to noise by lag: whether what arrives from there is the same in every sample."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from throughtime.notation import LAG
from throughtime.report.figures.drawing import figure, lag_axis, line, owner, text
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading


def signal_to_noise(readings: Sequence[Reading]) -> go.Figure:
    """The part of a sample's gradient from a lag that all samples share, s / (1 + s) of signal to noise s, in percent.

    Args:
        readings: Those with several samples are drawn.
    """
    shown = [reading for reading in readings if _has_samples(reading)]
    drawn = figure(
        height=340,
        showlegend=len(shown) > 1,
        xaxis={**lag_axis(shown), "rangemode": "tozero"},
        yaxis={"title": "the same in all samples, %"},
    )
    lowest = -10.0
    for reading in shown:
        by_lag = reading.measures["signal_to_noise"].sel({LAG: slice(0, None)})
        ratio, name = by_lag.values, text(reading.label)
        # All of it where there is no noise.
        with np.errstate(invalid="ignore"):
            shared = 100 * np.where(np.isposinf(ratio), 1.0, ratio / (1 + ratio))
        lowest = min(lowest, float(np.nanmin(shared)))
        drawn.add_scatter(
            x=by_lag[LAG].values,
            y=shared,
            customdata=np.where(np.isposinf(ratio), "∞", [f"{one:.3g}" for one in ratio]),
            name=name,
            mode="lines",
            line=line(reading.place) | {"shape": "hv"},
            meta=owner(reading),
            hovertemplate=f"{name}, lag %{{x}}: %{{y:.3g}} %<br>signal to noise %{{customdata}}<extra></extra>",
        )
    drawn.update_yaxes(range=[1.05 * lowest, 103])
    return drawn


def _has_samples(reading: Reading) -> bool:
    return "signal_to_noise" in reading.measures and bool(reading.measures["signal_to_noise"].notnull().any())


SIGNAL_TO_NOISE = Picture(
    title="Signal and noise",
    heading="What is large, and what is useful",
    lead="How much of what the weights learn from a lag is the same in every sample. At 100 % all samples say the "
    "same; at 50 % a single sample has as much noise as signal; near 0 what arrives from there is noise, however "
    "large it is, and averages out.",
    quantities=("signal_to_noise",),
    draw=signal_to_noise,
    shows=_has_samples,
    caption=(
        "Without bias, so that it scatters around 0 where there is no signal, also below. Lags from 2 on are "
        "taken together in octaves: 2 and 3, 4 to 7, and so on.",
    ),
)
