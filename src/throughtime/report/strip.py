"""The text itself, coloured by the gradient that one of its losses sends back: what the page's script draws from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from throughtime.notation import LOSS_STEP, STATE, STATE_STEP
from throughtime.report.figures.blocks import rounded
from throughtime.report.readings import Examined, Reading

# Steps that are printed; of a longer text, the last ones.
LONGEST_STRIP = 600
# What stands for tokens that would not be seen between others.
UNSEEN = {"": "∅", " ": "␣", "\t": "⇥", "\n": "⏎", "\r\n": "⏎"}


@dataclass(frozen=True)
class Strip:
    """One text with the maps that colour it.

    Args:
        first: The step of its first token.
        tokens: What is printed.
        words: Whether a token is more than a character, so that a gap belongs between two.
        maps: For the script: `label`, `state`, `t`, `i`, and `nats` by rows t, "-inf" for exactly zero and None for
            not computed.
    """

    first: int
    tokens: tuple[str, ...]
    words: bool
    maps: list[dict[str, Any]]

    @property
    def cut(self) -> int:
        """How many tokens before the first are not printed."""
        return self.first - 1


def strips(examinations: Mapping[str, Examined], readings: Sequence[Reading]) -> list[Strip]:
    """One strip for every different text, coloured by all the networks that read it."""
    texts: dict[tuple[str, ...], list[Reading]] = {}
    for reading in readings:
        tokens = examinations[reading.network].tokens
        # In a network of several recurrences they are the steps of those that read as many.
        if tokens and len(tokens) == reading.steps:
            texts.setdefault(tuple(tokens), []).append(reading)
    printed = [_strip(tokens, readers) for tokens, readers in texts.items()]
    return [strip for strip in printed if strip.maps]


def sample_maps(reading: Reading) -> list[tuple[str, np.ndarray]]:
    """The maps of the first sample by state, the carried one first."""
    states = [str(state) for state in reading.measures[STATE].values]
    states.sort(key=lambda state: state != reading.carried)
    return [(state, reading.measures["sample_map"].sel({STATE: state}).values) for state in states]


def _strip(tokens: tuple[str, ...], readers: Sequence[Reading]) -> Strip:
    first = max(1, len(tokens) - LONGEST_STRIP + 1)
    maps = [entry for reading in readers for entry in _maps(reading, first)]
    words = any(len(token) > 1 for token in tokens)
    printed = tuple(UNSEEN.get(token, token) if words else token for token in tokens[first - 1 :])
    return Strip(first, printed, words, maps)


def _maps(reading: Reading, first: int) -> list[dict[str, Any]]:
    t, i = (reading.measures[axis].values for axis in (LOSS_STEP, STATE_STEP))
    rows, columns = t >= first, i >= first - 1
    if not rows.any():  # no loss on what is printed
        return []
    entries = []
    for state, nats in sample_maps(reading):
        shown = nats[np.ix_(rows, columns)]
        values = [
            ["-inf" if exact == -np.inf else short for exact, short in zip(row, short_row, strict=True)]
            for row, short_row in zip(shown, rounded(shown), strict=True)
        ]
        entries.append(
            {"label": reading.label, "state": state, "t": t[rows].tolist(), "i": i[columns].tolist(), "nats": values}
        )
    return entries
