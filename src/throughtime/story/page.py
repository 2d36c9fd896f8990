"""A story as a page: one file that fetches nothing."""

import os
from functools import cache

import jinja2

from throughtime.report import written_whole
from throughtime.report.embedding import embedded_figure
from throughtime.report.environment import environment_of
from throughtime.report.typeset import mathml
from throughtime.story import pictures, writing
from throughtime.story.claim import note, shown, verdict
from throughtime.story.numbers import Story

# The story's formulas; what is derived from a cell comes with the story itself.
FORMULAS = {
    "state": r"h_t = \varphi(W_{hx} x_t + W_{hh} h_{t-1} + b)",
    "output": r"y_t = \mathrm{softmax}(W_{oh} h_t + b_h)",
    "loss": r"L = \sum_t l_t, \qquad l_t = -\ln y_t[\text{next word}]",
    "factors": r"\frac{d l_t}{d W} = \frac{d l_t}{d y_t} \cdot \frac{d y_t}{d h_t} \cdot \frac{d h_t}{d W}",
    "sum": r"\frac{d h_t}{d W} = \sum_{i=1}^{t} \left( \frac{d h_t}{d h_{t-1}} \cdots \frac{d h_{i+1}}{d h_i} \right)"
    r" \frac{\partial h_i}{\partial W}",
    "jacobian": r"J_k = \frac{d h_k}{d h_{k-1}} = \operatorname{diag}(\varphi') \, W_{hh}",
    "gated": r"h_t = \mathrm{keep}_t \odot h_{t-1} + \mathrm{write}_t \odot \mathrm{candidate}_t",
}


def write_html(story: Story, path: str | os.PathLike[str]) -> None:
    """Write the page, whole or not at all.

    Raises:
        OSError: `path` cannot be written.
    """
    page = to_html(story)
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def to_html(story: Story) -> str:
    """The page."""
    drawn = {
        "terms": pictures.terms(story),
        "products": pictures.products(story),
        "paths": pictures.paths(story),
        "accuracy": pictures.accuracy(story.agreement),
        "reaches": pictures.reaches(story.agreement),
    }
    return (
        _environment()
        .get_template("story.html.j2")
        .render(
            story=story,
            t=len(story.words),
            formulas={name: mathml(latex) for name, latex in FORMULAS.items()},
            figures={name: embedded_figure(figure) for name, figure in drawn.items()},
        )
    )


@cache
def _environment() -> jinja2.Environment:
    environment = environment_of("throughtime.story")
    environment.filters |= {
        "number": writing.number,
        "size": writing.size,
        "percent": writing.percent,
        "mathml": mathml,
        "accuracy": shown,
    }
    environment.globals |= {"writing": writing, "note": note, "verdict": verdict}
    return environment
