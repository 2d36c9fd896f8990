"""The verdicts on the page: each finding with its picture, its causes as bars, and its numbers traced to figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from throughtime.report.embedding import embedded_figure
from throughtime.report.figures import cause_split
from throughtime.report.pictures import PICTURES, picture_of
from throughtime.report.readings import Reading
from throughtime.report.traced import Traced, traced, traced_text

# Pixels: a picture beside a verdict is no higher than this.
_HIGHEST = 270


@dataclass(frozen=True)
class Told:
    """One finding as the page shows it.

    Args:
        finding: What was found.
        picture: The name of the picture in which it is seen.
        title: What that picture of this recurrence is called.
        figure: The picture, of this recurrence alone.
        causes: The bars of its causes; "" where it has none, or a verdict above it has the same.
        evidence: Its sentences, the numbers in them leading to the figures that show them.
        numbers: All numbers that it rests on.
    """

    finding: Any
    picture: str
    title: str
    figure: Markup
    causes: Markup
    evidence: Markup
    numbers: Sequence[Traced]


@dataclass(frozen=True)
class Card:
    """All findings on one recurrence."""

    reading: Reading
    told: tuple[Told, ...]

    @classmethod
    def of(cls, reading: Reading) -> "Card":
        """The card of a recurrence."""
        findings = reading.findings
        # What changes the gradient is the same whatever the verdict: it is drawn once.
        drawn = [finding.causes in [earlier.causes for earlier in findings[:n]] for n, finding in enumerate(findings)]
        told = (_told(finding, reading, seen) for finding, seen in zip(findings, drawn, strict=True))
        return cls(reading, tuple(told))


def _told(finding: Any, reading: Reading, causes_seen: bool) -> Told:
    name = picture_of(finding, reading)
    picture = PICTURES[name]
    return Told(
        finding,
        name,
        f"{picture.title}: {reading.label}",
        embedded_figure(_small(picture.draw([reading]))),
        embedded_figure(cause_split(finding.causes, reading)) if finding.causes and not causes_seen else Markup(),
        traced_text(finding, reading),
        traced(finding, reading),
    )


def _small(figure: go.Figure) -> go.Figure:
    return figure.update_layout(height=min(figure.layout.height, _HIGHEST), font_size=12)
