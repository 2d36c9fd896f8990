"""The pictures of a story's page, as Plotly figures."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from throughtime.compare.agreement import CHANCE, Agreement
from throughtime.report.figures.drawing import CAUSES, MARK, add_band, figure, line, text
from throughtime.story.numbers import Story
from throughtime.story.writing import number, percent, size

# Lines and bars of one network look alike in every picture: as in the comparison, by its place there.
RNN, UNTRAINED, GATED = line(0), line(0) | {"dash": "dot", "width": 1.6}, line(2)
# More words than this stand so close that bars lie on each other and markers only hide the line.
CROWDED = 40
HATCH = {"shape": "/", "fillmode": "overlay", "size": 6, "fgcolor": "white", "fgopacity": 0.4}
WHITE = {"color": "white", "line": {"width": 1.5, "color": "black"}}
# One symbol a network, for lines that lie on each other.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x")
# More powers of ten than this on an axis are labelled every second, third, ... one.
TICKS = 8
LN_10 = math.log(10)


def terms(story: Story) -> go.Figure:
    """Who takes part: the norm of every word's term, on a logarithmic axis."""
    crowded = len(story.words) > CROWDED
    # On each other, the network that fades stands in front.
    networks = (("RNN", story.rnn, RNN), ("Gated", story.gated, GATED))[:: -1 if crowded else 1]
    low, high = _powers(ln for _, chain, _ in networks for term in chain.terms for ln in term.ln_norm.values())
    drawn = _over_words(story, bargap=0.1 if crowded else 0.25, barmode="overlay" if crowded else "group")
    for weight in ("W_hx", "W_hh"):
        for name, chain, style in networks:
            ordered = chain.terms[::-1]
            drawn.add_bar(
                x=_labels(story),
                # A bar on a logarithmic axis has no natural foot: all stand on the lowest power of ten.
                y=[max(0.0, term.ln_norm[weight] / LN_10 - low) for term in ordered],
                base=low,
                name=f"{name}, {_html(weight)}",
                visible=True if weight == "W_hx" else "legendonly",
                opacity=0.85 if crowded else 1,
                marker={"color": style["color"], "pattern": HATCH if name == "Gated" and not crowded else None},
                customdata=[[size(term.ln_norm[weight]), percent(term.share[weight])] for term in ordered],
                hovertemplate=f"%{{x}}<br>{name}, term of {_html(weight)}: %{{customdata[0]}}"
                "<br>its share of the gradient: %{customdata[1]}<extra></extra>",
            )
    return drawn.update_yaxes(title="norm of the term", **_power_ticks(low, high))


def products(story: Story) -> go.Figure:
    """The product of step Jacobians in front of every word, on a logarithmic axis."""
    chains = (
        ("RNN before training", story.untrained, UNTRAINED),
        ("RNN", story.rnn, RNN),
        ("Gated", story.gated, GATED),
    )
    drawn = _over_words(story)
    low, high = _powers([0.0, *(term.ln_product for _, chain, _ in chains for term in chain.terms)])
    drawn.add_hline(0, line={"width": 1, "color": MARK})
    for name, chain, style in chains:
        ordered = chain.terms[::-1]
        own = [number(jacobian.norm) for jacobian in chain.jacobians[::-1]]
        drawn.add_scatter(
            x=_labels(story),
            y=[term.ln_product / LN_10 if math.isfinite(term.ln_product) else None for term in ordered],
            name=name,
            mode="lines" if len(ordered) > CROWDED else "lines+markers",
            line=style,
            marker={"size": 7, "color": style["color"]},
            cliponaxis=False,
            customdata=list(zip((size(term.ln_product) for term in ordered), ["–", *own], strict=True)),
            hovertemplate=f"%{{x}}, {name}<br>product in front of it: %{{customdata[0]}}"
            "<br>its own step Jacobian: %{customdata[1]}<extra></extra>",
        )
    return drawn.update_yaxes(title="largest stretch of the product", **_power_ticks(low, high))


def paths(story: Story) -> go.Figure:
    """The norms of the four paths of every step Jacobian of the gated layer, and the norm of their sum."""
    drawn = _over_words(story, first=2, barmode="stack", bargap=0.1 if len(story.words) > CROWDED else 0.25)
    jacobians, labels = story.gated.jacobians[::-1], _labels(story)[1:]
    for path in story.path_formulas["Gated"]:
        colour, hatch = CAUSES[path]
        drawn.add_bar(
            x=labels,
            y=[jacobian.paths[path] for jacobian in jacobians],
            name=path,
            marker={"color": colour, "pattern": HATCH | {"shape": "" if len(story.words) > CROWDED else hatch}},
            hovertemplate=f"%{{x}}<br>{path}: %{{y:.3g}}<extra></extra>",
        )
    drawn.add_scatter(
        x=labels,
        y=[jacobian.norm for jacobian in jacobians],
        name="their sum, the step Jacobian",
        mode="markers",
        marker={"symbol": "diamond", "size": 5 if len(story.words) > CROWDED else 10} | WHITE,
        hovertemplate="%{x}<br>step Jacobian: %{y:.3g}<extra></extra>",
    )
    return drawn.update_yaxes(title="largest stretch", rangemode="tozero")


def accuracy(agreement: Agreement) -> go.Figure:
    """Accuracy by distance with its 95 % intervals."""
    distances = [one.distance for one in agreement.contestants[0].accuracies]
    drawn = figure(
        height=400, xaxis={"title": "distance from noun to verb, in steps", "range": [0, max(distances) + 1]}
    )
    drawn.add_hline(100 * CHANCE, line={"width": 1.5, "dash": "dot", "color": MARK})
    for index, contestant in enumerate(agreement.contestants):
        rates = [100 * one.rate for one in contestant.accuracies]
        bounds = 100 * np.array([one.interval for one in contestant.accuracies])
        style, name = line(index), text(contestant.name)
        add_band(drawn, np.array(distances), bounds[:, 0], bounds[:, 1], style["color"], legendgroup=name)
        drawn.add_scatter(
            x=distances,
            y=rates,
            name=name,
            legendgroup=name,
            mode="lines+markers",
            line=style,
            marker={"symbol": SYMBOLS[index], "size": 9 - index},
            cliponaxis=False,
            customdata=[f"{low:.1f} to {high:.1f}" for low, high in bounds],
            hovertemplate=f"{name}, distance %{{x}}<br>%{{y:.1f}} % right (%{{customdata}})<extra></extra>",
        )
    lowest = min(one.interval[0] for contestant in agreement.contestants for one in contestant.accuracies)
    return drawn.update_yaxes(title="right verb, in % of sentences", range=[min(35, 100 * lowest - 3), 103])


def reaches(agreement: Agreement) -> go.Figure:
    """The reach of every network, as bars."""
    drawn = figure(height=400, showlegend=False, margin={"l": 8, "r": 30, "t": 12, "b": 48}, bargap=0.45)
    for index, contestant in enumerate(agreement.contestants):
        drawn.add_bar(
            x=[contestant.reach],
            y=[text(contestant.name)],
            orientation="h",
            marker={"color": line(index)["color"]},
            text=str(contestant.reach),
            textposition="outside",
            cliponaxis=False,
            hovertemplate=f"{text(contestant.name)}: %{{x}} steps<extra></extra>",
        )
    drawn.add_vline(agreement.longest, line={"width": 1.5, "dash": "dot", "color": MARK})
    longest = max(agreement.longest, *(contestant.reach for contestant in agreement.contestants))
    drawn.update_xaxes(title="reach, in steps", range=[0, 1.12 * longest])
    return drawn.update_yaxes(autorange="reversed", ticksuffix="  ")


def _labels(story: Story) -> list[str]:
    """One distinct label per word, safe in Plotly."""
    return [f"{step} {text(_shortened(word))}" for step, word in enumerate(story.words, start=1)]


def _shortened(word: str, letters: int = 12) -> str:
    return word if len(word) <= letters else f"{word[: letters - 1]}…"


def _over_words(story: Story, first: int = 1, **layout: Any) -> go.Figure:
    """A figure over the words from number `first` on."""
    # As a category axis Plotly leaves out labels until none overlap, and brings them back when zoomed.
    axis = {
        "type": "category",
        "showgrid": False,
        "range": [-0.5, len(story.words) - first + 0.5],
        "title": "word, from first to last",
    }
    # Many words are written upright and need room.
    height = 470 if len(story.words) > CROWDED / 2 else 390
    return figure(height=height, xaxis=axis, **layout).update_layout(legend={"traceorder": "normal"})


def _powers(lns: Iterable[float]) -> tuple[int, int]:
    """The powers of ten below and above finite sizes."""
    finite = [ln / LN_10 for ln in lns if math.isfinite(ln)] or [0.0]
    low, high = math.floor(min(finite)), math.ceil(max(finite))
    return low - (low == min(finite)), high


def _power_ticks(low: int, high: int) -> dict[str, Any]:
    # Drawn over powers of ten, not on Plotly's own logarithmic axis, which ends where floats end.
    step = max(1, math.ceil((high - low) / TICKS))
    values: Sequence[int] = [power for power in range(low, high + 1) if power % step == 0]
    labels = [_power(power) for power in values]
    return {"range": [low, high + 0.04 * (high - low)], "tickvals": list(values), "ticktext": labels, "zeroline": False}


def _power(power: int) -> str:
    return {0: "1", 1: "10"}.get(power, f"10<sup>{str(power).replace('-', '−')}</sup>")


def _html(weight: str) -> str:
    name, _, subscript = weight.partition("_")
    return f"{name}<sub>{subscript}</sub>"
