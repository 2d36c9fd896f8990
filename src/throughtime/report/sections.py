"""The sections of the page below the verdicts: one for every picture that shows anything."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from throughtime.report.embedding import embedded_figure
from throughtime.report.figures.drawing import with_room_for_legend
from throughtime.report.picture import Picture
from throughtime.report.pictures import PICTURES
from throughtime.report.readings import Reading


@dataclass(frozen=True)
class Drawn:
    """One figure of a section.

    Args:
        reading: The recurrence that it shows; None for one figure of all.
        of: What of it is shown, beside its label.
        title: What the figure is called on its own.
        figure: As JSON.
    """

    reading: Reading | None
    of: Markup
    title: str
    figure: Markup


@dataclass(frozen=True)
class Section:
    """One picture on the page.

    Args:
        name: Its anchor.
        picture: Its words.
        lead: How it is to be read.
        caption: What else must be known; "" where there is nothing.
        figures: What is drawn.
    """

    name: str
    picture: Picture
    lead: str
    caption: str
    figures: tuple[Drawn, ...]


def sections(readings: Sequence[Reading]) -> list[Section]:
    """Those that have anything to show, in the order of the page."""
    followed_a_loss = any(reading.has_loss for reading in readings)
    return [
        _section(name, picture, readings, followed_a_loss)
        for name, picture in PICTURES.items()
        if len(readings) >= picture.least and any(picture.shows(reading) for reading in readings)
    ]


def _section(name: str, picture: Picture, readings: Sequence[Reading], followed_a_loss: bool) -> Section:
    lead = picture.lead if followed_a_loss else picture.lead_without_loss or picture.lead
    if picture.panels is None:
        figures = [Drawn(None, Markup(), picture.title, embedded_figure(with_room_for_legend(picture.draw(readings))))]
    else:
        figures = [
            Drawn(panel.reading, panel.of, f"{picture.title}: {panel.reading.label}", embedded_figure(panel.figure))
            for panel in picture.panels(readings)
        ]
    return Section(name, picture, lead, picture.caption_of(readings), tuple(figures))
