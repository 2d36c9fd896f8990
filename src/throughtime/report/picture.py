"""What a picture of the report is: what draws it, of which recurrences, and its words on the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from markupsafe import Markup

from throughtime.report.readings import Reading


@dataclass(frozen=True)
class Panel:
    """One of several figures of a picture, with the recurrence that it shows.

    Args:
        reading: The recurrence.
        of: What of it is shown, beside its label.
        figure: The figure.
    """

    reading: Reading
    of: Markup
    figure: go.Figure


@dataclass(frozen=True)
class Remark:
    """A sentence of a caption that does not hold of everything.

    Args:
        words: The sentence.
        holds: Of which recurrences it is said; one on the page is enough.
    """

    words: str
    holds: Callable[[Reading], bool]


@dataclass(frozen=True)
class Picture:
    """One picture. On the page it has a section of its own.

    Args:
        title: What it shows, as a figure on its own is called.
        heading: What it answers: of its section on the page.
        lead: How it is to be read.
        quantities: The names in the Dataset of a recurrence whose numbers it shows.
        draw: The figure of some readings; those that it has nothing of are left out of it.
        shows: Whether it has anything of a reading.
        panels: On the page, a figure for every reading instead of one for all; None for one for all.
        caption: What else must be known, sentence by sentence.
        lead_without_loss: The lead where none was; "" where it is the same.
        least: From how many recurrences on the page has it.
    """

    title: str
    heading: str
    lead: str
    quantities: tuple[str, ...]
    draw: Callable[[Sequence[Reading]], go.Figure]
    shows: Callable[[Reading], bool] = lambda reading: True
    panels: Callable[[Sequence[Reading]], Sequence[Panel]] | None = None
    caption: Sequence[str | Remark] = ()
    lead_without_loss: str = ""
    least: int = 1

    def caption_of(self, readings: Sequence[Reading]) -> str:
        """What must be known of these recurrences; "" where there is nothing."""
        said = [
            part if isinstance(part, str) else part.words
            for part in self.caption
            if isinstance(part, str) or any(map(part.holds, filter(self.shows, readings)))
        ]
        return " ".join(said)
