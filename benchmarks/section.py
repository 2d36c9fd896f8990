"""One subject of the benchmarks, measured: its table and pictures, and the numbers they are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go
from rich.table import Table


@dataclass(frozen=True)
class Section:
    """What a benchmark found.

    Args:
        name: In one word, of the numbers and the pictures.
        title: What was measured, at which sizes.
        words: How to read it.
        header: Of the table.
        rows: Of the table, in words.
        numbers: All that was measured, as JSON can hold it.
        pictures: By what they show.
    """

    name: str
    title: str
    words: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Any
    pictures: Mapping[str, go.Figure] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As it can be taken to where there is a browser that draws it."""
        return {**vars(self), "pictures": {shows: drawn.to_plotly_json() for shows, drawn in self.pictures.items()}}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Section":
        """From what `to_json` gave."""
        return cls(**{**found, "pictures": {shows: go.Figure(drawn) for shows, drawn in found["pictures"].items()}})

    def table(self) -> Table:
        """For a terminal."""
        shown = Table(*self.header, title=self.title)
        for row in self.rows:
            shown.add_row(*row)
        return shown

    def markdown(self, folder: str) -> str:
        """For a page; the pictures are in a folder beside it."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        pictures = [f"![{shows}]({folder}/{self.file(shows)})" for shows in self.pictures]
        return "\n\n".join([f"## {self.title}", self.words, *pictures, table])

    def file(self, shows: str) -> str:
        """The file of a picture."""
        return (
            f"{self.name}-{list(self.pictures).index(shows) + 1}.svg" if len(self.pictures) > 1 else f"{self.name}.svg"
        )
