"""From a number to the figure that shows it."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from throughtime.report.pictures import PICTURES, shown_in
from throughtime.report.readings import Reading, number

# A number in a sentence, with a percent sign where it is a part; not one inside a name such as float32 or h_2.
_NUMBER = re.compile(r"(?<![\w.])[+\-−]?\d+(?:\.\d+)?(?:e[+\-−]?\d+)?(?:\s?%)?(?![\w])")


@dataclass(frozen=True)
class Traced:
    """One number of a finding in words, with the anchor of its figure.

    Args:
        quantity: What it is.
        words: The number, its unit and its interval.
        threshold: What it was compared with, in words; "" where nothing was.
        anchor: Where on the page it is seen; "" where no figure shows it.
        seen: The title of that figure; "" where none does.
    """

    quantity: str
    words: str
    threshold: str
    anchor: str
    seen: str


def anchor(name: str, reading: Reading) -> str:
    """The address within the page of a picture, and of the recurrence's own panel where it has one."""
    return f"#{name}" if PICTURES[name].panels is None else f"#{name}-{reading.place}"


def traced(finding: Any, reading: Reading) -> list[Traced]:
    """Every number that a finding rests on."""
    found = []
    for one in finding.numbers:
        name = shown_in(one.quantity, reading)
        found.append(
            Traced(
                one.quantity.replace("_", " "),
                _in_words(one),
                "" if one.threshold is None else f"{number(one.threshold, 3)} {one.unit}".strip(),
                anchor(name, reading) if name else "",
                PICTURES[name].title if name else "",
            )
        )
    return found


def traced_text(finding: Any, reading: Reading) -> Markup:
    """The evidence with a link from every number that a figure of the page shows to that figure."""
    known = list(_known(finding, reading))
    pieces, end = [], 0
    for match in _NUMBER.finditer(finding.evidence):
        name = next((name for value, name in known if _reads_as(match.group(), value)), None)
        # A lag is no result.
        if name is None or finding.evidence[: match.start()].endswith("lag "):
            continue
        pieces.append(escape(finding.evidence[end : match.start()]))
        pieces.append(Markup('<a href="{}">{}</a>').format(anchor(name, reading), match.group()))
        end = match.end()
    return Markup().join([*pieces, escape(finding.evidence[end:])])


def _known(finding: Any, reading: Reading) -> Iterator[tuple[float, str]]:
    """The numbers that the evidence may state, with the names of the pictures that show them."""
    for one in finding.numbers:
        name = shown_in(one.quantity, reading)
        if name:
            yield from ((value, name) for value in (one.value, one.low, one.high) if value is not None)
    for quantity, value in reading.measures.data_vars.items():
        if value.ndim == 0 and (name := shown_in(str(quantity), reading)):
            yield float(value), name
    # The causes are stated per step, and drawn so.
    if finding.cause_steps and (name := shown_in("causes", reading)):
        yield from ((nats / finding.cause_steps, name) for nats in finding.causes.values())


def _reads_as(text: str, value: float) -> bool:
    """Whether a number in a sentence is this value, to as many digits as sentences give, whatever its sign."""
    if not math.isfinite(value):
        return False
    size = abs(value)
    stated = float(text.rstrip("% ").lstrip("+-−").replace("−", "-"))
    if text.endswith("%"):
        return stated in {float(f"{100 * size:.{digits}f}") for digits in (0, 1, 2)}
    return stated in {float(f"{size:.{digits}g}") for digits in (2, 3, 4)}


def _in_words(one: Any) -> str:
    words = f"{number(one.value, 3)} {one.unit}".strip()
    if one.low is None or one.high is None or not math.isfinite(one.high - one.low):
        return words
    return f"{words} (95 %: {number(one.low, 3)} to {number(one.high, 3)})"
