"""The measured claim in the terminal: accuracy by distance of five networks, beside each one's reach."""

import math
from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from throughtime.compare.agreement import CHANCE, Accuracy, Agreement

# Above this lower end of the interval a network knows the noun's number.
KNOWN = 0.9
COLOURS = {"known": "green", "partly": "yellow", "guessing": "red"}


def claim(agreement: Agreement) -> Iterator[Any]:
    """The table and how to read it."""
    distances = [accuracy.distance for accuracy in agreement.contestants[0].accuracies]
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("steps to noun")
    for distance in distances:
        table.add_column(str(distance), justify="right", no_wrap=True)
    table.add_column("reach", justify="right", no_wrap=True)
    for contestant in agreement.contestants:
        shown = [_cell(accuracy) for accuracy in contestant.accuracies]
        table.add_row(Text(contestant.name, "bold", no_wrap=True), *shown, Text(str(contestant.reach), "bold"))
    yield table
    yield Text(note(agreement), "dim")


def note(agreement: Agreement) -> str:
    """What was measured, on how much, and what guessing would give."""
    all_of_them = [accuracy for contestant in agreement.contestants for accuracy in contestant.accuracies]
    width = max(max(one.rate - one.interval[0], one.interval[1] - one.rate) for one in all_of_them)
    sizes = ", ".join(f"{contestant.name} {contestant.parameters:,}" for contestant in agreement.contestants)
    return (
        f"How often the agreeing verb is the likelier of “was” and “were”, in %; chance is {100 * CHANCE:.0f} %. "
        f"{all_of_them[0].sentences} new sentences per distance; 95 % intervals (Wilson) of at most "
        f"±{100 * width:.1f} points. Reach: the BPTT window, in steps, that holds 99 % of the gradient of the loss at "
        f"the verb, at distance {agreement.longest}. Hidden size {agreement.hidden_size}, {agreement.steps} training "
        f"steps, distances 1 to {agreement.longest} evenly mixed, seed {agreement.seed}: one run each, and another "
        f"seed is another run. Parameters: {sizes}."
    )


def verdict(accuracy: Accuracy) -> str:
    """By the lower end of the interval: "known", "partly" or "guessing"."""
    low, _ = accuracy.interval
    return "known" if low >= KNOWN else "guessing" if low <= CHANCE else "partly"


def shown(accuracy: Accuracy) -> str:
    """The rate in whole per cent; 100 only if all were right."""
    percent = 100 * accuracy.rate
    return f"{math.floor(percent) if percent > 99 else round(percent)}"


def _cell(accuracy: Accuracy) -> Text:
    return Text(shown(accuracy), COLOURS[verdict(accuracy)])
