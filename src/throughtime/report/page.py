"""The HTML report: one file that fetches nothing."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cache

import jinja2
import numpy as np
from markupsafe import Markup

from throughtime.report.cards import Card
from throughtime.report.embedding import embedded
from throughtime.report.environment import environment_of
from throughtime.report.figures import causes_drawn
from throughtime.report.files import written_whole
from throughtime.report.readings import MOST, NEARLY_ALL, Examined, Reading, number, readings
from throughtime.report.scale import COLOURS, FLOAT32_LARGEST, FLOAT32_SMALLEST, scale_of
from throughtime.report.sections import sections
from throughtime.report.strip import strips
from throughtime.report.terminal import SIGNS
from throughtime.report.typeset import mathml

# What the report shows is one sum; these are its words in signs.
SUM_OF_TERMS = (
    r"\frac{d l_t}{d W} = \sum_{i \le t} \delta(t,i) \, \frac{\partial s_i}{\partial W}"
    r", \qquad \delta(t,i) = \frac{d l_t}{d s_i}"
)
# The same without a loss, of a random direction v.
PRODUCT_OF_DIRECTION = (
    r"v^{\top} \frac{d h_t}{d s_i} = v^{\top} \frac{d h_t}{d s_t} \, J_t \, J_{t-1} \cdots J_{i+1}"
    r", \qquad J_k = \frac{d s_k}{d s_{k-1}}"
)
PRODUCT = r"\delta(t,i) = \frac{d l_t}{d s_t} \, J_t \, J_{t-1} \cdots J_{i+1}, \qquad J_k = \frac{d s_k}{d s_{k-1}}"

# Verdicts that stand open on a page; of more recurrences, one opens those that one looks for.
MOST_OPEN = 4


def to_html(examinations: Mapping[str, Examined], notebook: bool = False) -> str:
    """The report as HTML.

    Args:
        examinations: By name of the network; "" for the only one.
        notebook: A fragment to put into a page, in a frame of its own, in place of a whole page.
    """
    all_readings = readings(examinations)
    learning = [reading for reading in all_readings if reading.has_loss]
    page = (
        _templates()
        .get_template("report.html.j2")
        .render(
            headline=headline(all_readings),
            readings=all_readings,
            longest=max(reading.steps for reading in all_readings),
            notes=[(network, note) for network, exam in examinations.items() for note in exam.notes],
            scale=scale_of(all_readings),
            cards=[Card.of(reading) for reading in all_readings],
            sections=sections(all_readings),
            followed_a_loss=bool(learning),
            causes=causes_drawn([reading for reading in all_readings if reading.is_recurrence]),
            strips=[(strip, embedded(json.dumps(strip.maps))) for strip in strips(examinations, all_readings)],
            formulas={
                "sum": mathml(SUM_OF_TERMS),
                "product": mathml(PRODUCT if learning else PRODUCT_OF_DIRECTION),
            },
        )
    )
    return _templates().get_template("notebook.html.j2").render(page=page) if notebook else page


def write_html(examinations: Mapping[str, Examined], path: str | os.PathLike[str]) -> None:
    """Write the report of one or several examinations on common axes: one file, whole or not at all.

    Args:
        examinations: By name of the network.
        path: Where it goes.

    Raises:
        TypeError: `examinations` is no mapping of names to examinations.
        ValueError: It is empty.
        OSError: `path` cannot be written.
    """
    named = isinstance(examinations, Mapping) and all(isinstance(exam, Examined) for exam in examinations.values())
    if not named:
        raise TypeError(
            "examinations: expected a dict of examinations by the names of their networks, found "
            f"{type(examinations).__name__}; of a single one, use exam.to_html(path)"
        )
    if not examinations:
        raise ValueError("examinations: expected one at least, found none")
    page = to_html(examinations)
    with written_whole(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def headline(all_readings: Sequence[Reading]) -> str:
    """The answer in one sentence."""
    learning = [reading for reading in all_readings if reading.has_loss]
    # Where a network has a state, it is what the answer is about.
    with_state = {reading.network for reading in learning if reading.is_recurrence}
    learning = [reading for reading in learning if reading.is_recurrence or reading.network not in with_state]
    return _learned(learning) if learning else _passed(all_readings)


def _passed(all_readings: Sequence[Reading]) -> str:
    """What a gradient goes through where no loss was followed."""
    fastest, *_, slowest = sorted([*all_readings] * 2, key=lambda reading: np.nan_to_num(reading.rate[0], nan=-np.inf))
    through = f"A gradient that passes back through {slowest.label}"
    if slowest.changes == fastest.changes:
        through += " or any other of them" if len(all_readings) > 1 else ""
        return f"{through} {slowest.changes}; no loss was followed."
    return f"{through} {slowest.changes}, through {fastest.label} {fastest.changes}; no loss was followed."


def _learned(all_readings: Sequence[Reading]) -> str:
    furthest = max(all_readings, key=lambda reading: (reading.has_gradient, reading.window(NEARLY_ALL)))
    nearest = min(all_readings, key=lambda reading: (reading.has_gradient, reading.window(NEARLY_ALL)))
    if len(all_readings) == 1:
        return f"{furthest.network or 'This network'} {furthest.learns}."
    if furthest.learns == nearest.learns:
        return f"Each of them {furthest.learns}."
    shorter = nearest.learns.replace("learns from", "from").replace("depends on", "on")
    if nearest.steps == furthest.steps:
        shorter = shorter.replace(f" of {nearest.steps} steps", "")
    return f"{furthest.label} {furthest.learns}, {nearest.label} {shorter}."


@cache
def _templates() -> jinja2.Environment:
    environment = environment_of("throughtime.report")
    environment.filters |= {"number": number, "equations": _equations, "unbroken": _unbroken}
    environment.globals |= {
        "signs": SIGNS,
        "colours": COLOURS,
        "most": MOST,
        "nearly_all": NEARLY_ALL,
        "float32_smallest": FLOAT32_SMALLEST,
        "float32_largest": FLOAT32_LARGEST,
        "most_open": MOST_OPEN,
    }
    return environment


def _unbroken(words: str) -> str:
    """Words in which no line ends between a number and its percent sign."""
    return words.replace(" %", "\N{NO-BREAK SPACE}%")


def _equations(reading: Reading) -> list[Markup]:
    lines = np.atleast_1d(reading.measures.attrs.get("equations", [])).tolist()
    return [mathml(line) for text in lines for line in str(text).splitlines() if line.strip()]
