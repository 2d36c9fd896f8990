"""The gradient map: ln |dl_t/ds_i| over loss steps and state steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from throughtime.notation import LOSS_STEP, STATE, STATE_STEP
from throughtime.report.figures.blocks import LARGEST_SIDE, block_maximum, centres, on_every_step, rounded
from throughtime.report.figures.drawing import ZERO, figure, not_computed, step_axis
from throughtime.report.picture import Panel, Picture, Remark
from throughtime.report.readings import Reading
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
        xaxis={
            "title": "state step i",
            "showgrid": False,
            "zeroline": False,
            "constrain": "domain",
            **step_axis(reading.steps),
        },
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
        _mark_lags(drawn, reading, panel.values)
        if _causal(reading):
            _say_zero(drawn, 1 if reading.backwards_in_time else -1)
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
    step = t - reading.last_lag if reading.backwards_in_time else t + reading.last_lag
    _dash(drawn, {"type": "line", "x0": step, "x1": step, "yref": "paper", "y0": 0, "y1": 1})


def _dash(drawn: go.Figure, along: dict[str, Any]) -> None:
    """Dark under white: seen on every colour of the scale."""
    drawn.add_shape(**along, line={"width": 3.5, "color": "rgba(0,0,0,0.45)"})
    drawn.add_shape(**along, line={"width": 1.8, "dash": "dash", "color": "white"})


def _mark_lags(drawn: go.Figure, reading: Reading, nats: np.ndarray) -> None:
    """Where lags are counted from, and the last lag in the reach, at every loss that sends anything back."""
    sends = (nats > -np.inf).any(axis=1)
    t, counted_from = reading.measures[LOSS_STEP].values[sends], reading.counted_from[sends]
    if not len(t):
        return
    drawn.add_shape(type="path", path=_path(counted_from, t), line={"width": 1, "color": "#5b6168"})
    if reading.has_gradient and reading.stops_short:
        sign = 1 if reading.backwards_in_time else -1
        last = counted_from - sign * reading.last_lag
        there = (last >= 1) & (last <= reading.steps)
        if there.any():
            _dash(drawn, {"type": "path", "path": _path(last[there], t[there])})


def _path(i: np.ndarray, t: np.ndarray) -> str:
    """From loss to loss; where that is a straight line, from end to end."""
    if len(np.unique(np.diff(i))) == len(np.unique(np.diff(t))) == 1:
        i, t = i[[0, -1]], t[[0, -1]]
    return "M" + "L".join(f"{x},{y}" for x, y in zip(i.tolist(), t.tolist(), strict=True))


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
        bgcolor=ZERO,
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


def _map(reading: Reading) -> np.ndarray:
    return np.asarray(reading.measures["gradient_map"].values)


GRADIENT_MAP = Picture(
    title="Gradient map",
    heading="Where the gradient is",
    lead="Each row is one loss, followed from the diagonal against the order of reading: to the left, or to the right "
    "where the sequence is read from its end. The colour is the logarithm of what is left of its gradient at state i.",
    lead_without_loss="Each row is one random direction v of the hidden state at step t, of unit length, followed from "
    "the diagonal against the order of reading: to the left, or to the right where the sequence is read from its end. "
    "The colour is the logarithm of what is left of it at state i.",
    quantities=("gradient_map", "counted_from", "sample_map", "detached", "first_not_finite"),
    draw=lambda readings: map_of(readings[0], readings[0].carried),
    panels=_panels,
    caption=(
        "Root mean square over the samples.",
        Remark("Grey: exactly zero.", lambda reading: bool((_map(reading) == -np.inf).any())),
        Remark("Dashes: the last lag in the reach.", lambda reading: reading.has_gradient and reading.stops_short),
        Remark("Dots: where the model detaches its state.", lambda reading: bool(reading.detached)),
        Remark("Blank: not computed.", lambda reading: bool(np.isnan(_map(reading)).any())),
        Remark(
            f"A map of more than {LARGEST_SIDE} steps a side is shown in blocks of steps; a block has the colour of "
            "its largest value.",
            lambda reading: max(_map(reading).shape[1:]) > LARGEST_SIDE,
        ),
    ),
)
