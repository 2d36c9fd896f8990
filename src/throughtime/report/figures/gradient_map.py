"""The gradient map: ln |dl_t/ds_i| over loss steps and state steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from throughtime.notation import LOSS_STEP, STATE, STATE_STEP
from throughtime.report.figures.blocks import LARGEST_SIDE, block_maximum, centres, on_every_step, rounded
from throughtime.report.figures.drawing import ZERO, figure, not_computed
from throughtime.report.picture import Panel, Picture
from throughtime.report.readings import NEARLY_ALL, Reading
from throughtime.report.scale import Scale, scale_of, shared_scale

_FEW_ROWS = 4  # loss steps, up to which a map is a strip and not a square


def gradient_map(reading: Reading, state: str, scale: Scale) -> go.Figure:
    """One map in nats; what is exactly zero shows the background.

    Args:
        reading: The recurrence.
        state: The name of the state whose gradient is shown.
        scale: The colour scale that all maps of the page share.
    """
    panel = reading.measures["gradient_map"].sel({STATE: state})
    t, i = panel[LOSS_STEP].values, panel[STATE_STEP].values
    block = (-(-len(t) // LARGEST_SIDE), -(-len(i) // LARGEST_SIDE))
    nats, y, x = block_maximum(panel.values, block), centres(t, block[0]), centres(i, block[1])
    if i[-1] - i[0] >= len(i):  # of a long sequence, only the states that were followed have a column
        nats, middles, width = on_every_step(block_maximum(panel.values, (block[0], 1)), i)
        block, x = (block[0], width), middles.tolist()
        if _causal(reading):
            later = np.subtract.outer(y, x) < 0 if reading.backwards_in_time else np.subtract.outer(y, x) > 0
            nats = np.where(np.isnan(nats) & later, -np.inf, nats)
    few = len(t) <= _FEW_ROWS
    drawn = figure(
        height=130 + 20 * len(t) if few else 360,
        margin={"l": 56, "r": 12, "t": 8, "b": 48},
        plot_bgcolor=ZERO,
        coloraxis=scale.coloraxis,
        xaxis={"title": "state step i", "showgrid": False, "zeroline": False, "constrain": "domain"},
        yaxis={
            "title": "loss step t" if reading.has_loss else "step t",
            "showgrid": False,
            "zeroline": False,
            "autorange": "reversed",
        },
        meta={"kind": "map", "of": "dl" if reading.has_loss else "v·dh", "state": state, "block": list(block)},
    )
    if few:
        drawn.update_yaxes(tickvals=[int(step) for step in t])
    drawn.add_heatmap(z=rounded(nats), x=x, y=y, coloraxis="coloraxis", hoverinfo="none", hoverongaps=True)
    if np.isnan(nats).any():
        drawn.add_trace(not_computed(nats, x, y))
    for step in reading.detached:
        _mark_cut(drawn, step + 0.5)
    if len(t) == 1:
        _mark_window(drawn, reading, int(t[0]))
    elif not few:
        _mark_lags(drawn, reading)
    return drawn


def _mark_cut(drawn: go.Figure, between: float) -> None:
    """Where the model detaches its state: what was read before, its own .grad does not see from after."""
    along = {"x0": between, "x1": between, "yref": "paper", "y0": 0, "y1": 1}
    drawn.add_shape(type="line", **along, line={"width": 3, "color": "rgba(0,0,0,0.45)"})
    drawn.add_shape(type="line", **along, line={"width": 1.4, "dash": "dot", "color": "white"})


def _mark_window(drawn: go.Figure, reading: Reading, t: int) -> None:
    """The reach, seen from the only loss."""
    if not (reading.has_gradient and reading.stops_short):
        return
    window = reading.window(NEARLY_ALL)
    step = t - window if reading.backwards_in_time else t + window
    _dash(drawn, {"x0": step, "x1": step, "yref": "paper", "y0": 0, "y1": 1})


def _dash(drawn: go.Figure, along: dict[str, Any]) -> None:
    """Dark under white: seen on every colour of the scale."""
    drawn.add_shape(type="line", **along, line={"width": 3.5, "color": "rgba(0,0,0,0.45)"})
    drawn.add_shape(type="line", **along, line={"width": 1.8, "dash": "dash", "color": "white"})


def _mark_lags(drawn: go.Figure, reading: Reading) -> None:
    """The diagonal, the reach beside it, and words in the half that is zero where causality makes it so."""
    sign = 1 if reading.backwards_in_time else -1
    first, last = 1, reading.steps
    drawn.add_shape(type="line", x0=first, y0=first, x1=last, y1=last, line={"width": 1, "color": "#5b6168"})
    if reading.has_gradient and reading.stops_short:
        window = reading.window(NEARLY_ALL)
        ends = (first, last - window) if sign > 0 else (first + window, last)
        along = {"x0": ends[0], "y0": ends[0] + sign * window, "x1": ends[1], "y1": ends[1] + sign * window}
        _dash(drawn, along)
    if _causal(reading):
        _say_zero(drawn, sign)


def _causal(reading: Reading) -> bool:
    """Whether no loss depends on a later state: in a layer below another direction, it does."""
    maps = reading.measures["gradient_map"]
    later = maps[STATE_STEP] - maps[LOSS_STEP]
    beyond = later > 0 if reading.backwards_in_time else later < 0
    return not (maps.values[:, beyond.transpose(LOSS_STEP, STATE_STEP).values] > -np.inf).any()


def _say_zero(drawn: go.Figure, sign: int) -> None:
    corner = {"x": 0.97, "y": 0.96} if sign > 0 else {"x": 0.03, "y": 0.04}
    drawn.add_annotation(
        text=f"{'i > t' if sign > 0 else 'i < t'}:<br>exactly zero",
        xref="paper",
        yref="paper",
        xanchor="right" if sign > 0 else "left",
        yanchor="top" if sign > 0 else "bottom",
        showarrow=False,
        font={"size": 12},
        **corner,
    )


def map_of(reading: Reading, state: str) -> go.Figure:
    """The map of one state with a colour scale of its own beside it."""
    drawn = gradient_map(reading, state, shared_scale([reading.measures["gradient_map"].sel({STATE: state}).values]))
    return drawn.update_layout(coloraxis_showscale=True)


def _panels(readings: Sequence[Reading]) -> list[Panel]:
    scale = scale_of(readings)
    return [
        Panel(reading, _formula(reading, str(state)), gradient_map(reading, str(state), scale))
        for reading in readings
        for state in reading.measures[STATE].values
    ]


def _formula(reading: Reading, state: str) -> Markup:
    of = Markup("dl") if reading.has_loss else Markup("v·dh")
    return Markup("ln |{}<sub>t</sub>/d{}<sub>i</sub>|, in nats").format(of, state)


GRADIENT_MAP = Picture(
    title="Gradient map",
    heading="Where the gradient is",
    lead="Each row is one loss, followed from the diagonal against the order of reading: to the left, or to the right "
    "where the sequence is read from its end. The colour is the logarithm of what is left of its gradient at state i.",
    lead_without_loss="Each row is one random direction v of the hidden state at step t, of unit length, followed from "
    "the diagonal against the order of reading: to the left, or to the right where the sequence is read from its end. "
    "The colour is the logarithm of what is left of it at state i.",
    quantities=("gradient_map", "sample_map", "detached", "first_not_finite"),
    draw=lambda readings: map_of(readings[0], readings[0].carried),
    panels=_panels,
    caption="Root mean square over the samples. Grey: exactly zero.",
    caption_of_loss="Dashes: the reach.",
)
