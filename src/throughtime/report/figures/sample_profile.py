"""The lag profile of every sample: whether one of them is unlike the others."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from throughtime.notation import LAG, SAMPLE
from throughtime.report.figures.drawing import INK, INKED, figure, lag_axis, line
from throughtime.report.picture import Panel, Picture, Remark
from throughtime.report.readings import Reading

# Samples that are drawn: the one that grows most, the one that falls most, and evenly spread ones between them.
MOST_SAMPLES = 32
# Of the axis, above and below what is drawn.
MARGIN = 0.05


def sample_profile(reading: Reading) -> go.Figure:
    """ln of the norm of the carried state's gradient over lags in nats, a line for every sample, the median in ink."""
    profiles = reading.measures["sample_profile"].transpose(SAMPLE, LAG)
    lags, nats = profiles[LAG].values, np.where(np.isfinite(profiles.values), profiles.values, np.nan)
    drawn = figure(
        height=330,
        showlegend=False,
        xaxis={**lag_axis([reading])},
        yaxis={"title": "ln |gradient|, in nats"},
    )
    for sample in _chosen(nats):
        drawn.add_scatter(
            x=lags,
            y=nats[sample],
            mode="lines",
            line={"width": 1.1, "color": line(reading.place)["color"]},
            opacity=0.7,
            hovertemplate=f"sample {sample}<br>lag %{{x}}: %{{y:.4g}} nats<extra></extra>",
        )
    known = np.isfinite(nats).any(axis=0)
    drawn.add_scatter(
        x=lags[known],
        y=np.nanmedian(nats[:, known], axis=0),
        mode="lines",
        line={"width": 2.4, "color": INK},
        meta=INKED,
        hovertemplate="median sample<br>lag %{x}: %{y:.4g} nats<extra></extra>",
    )
    return drawn


def _chosen(nats: np.ndarray) -> np.ndarray:
    """By how far each has changed where it ends."""
    ends = [profile[np.isfinite(profile)] for profile in nats]
    change = [float(profile[-1] - profile[0]) if profile.size else -np.inf for profile in ends]
    order = np.argsort(change, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(len(order), MOST_SAMPLES)).round().astype(int)]


def _has_samples(reading: Reading) -> bool:
    if "sample_profile" not in reading.measures or reading.measures.sizes[SAMPLE] == 1:
        return False
    return bool((np.isfinite(reading.measures["sample_profile"].transpose(SAMPLE, LAG).values).sum(axis=1) > 1).any())


def _panels(readings: Sequence[Reading]) -> list[Panel]:
    """Side by side on the same axis, so that a flat one is seen to be flat."""
    shown = list(filter(_has_samples, readings))
    every = [reading.measures["sample_profile"].values for reading in shown]
    known = np.concatenate([nats[np.isfinite(nats)] for nats in every]) if every else np.empty(0)
    panels = []
    for reading in shown:
        drawn = sample_profile(reading)
        if known.size:
            low, high = known.min(), known.max()
            margin = MARGIN * (high - low or 1.0)
            drawn.update_yaxes(range=[low - margin, high + margin])
        panels.append(Panel(reading, Markup("state {}").format(reading.carried), drawn))
    return panels


SAMPLE_PROFILE = Picture(
    title="Lag profile of every sample",
    heading="Whether the samples agree",
    lead="The same for every sample by itself. One line far from the others is a sample that the mean hides, or that "
    "hides the others: a gradient that explodes in one sample alone.",
    quantities=("sample_profile",),
    draw=lambda readings: sample_profile(readings[0]),
    shows=_has_samples,
    panels=_panels,
    caption=(
        "Thick: the median.",
        Remark(
            f"Of more than {MOST_SAMPLES} samples, {MOST_SAMPLES} between the one that grows most and the one that "
            "falls most.",
            lambda reading: reading.measures.sizes[SAMPLE] > MOST_SAMPLES,
        ),
    ),
)
