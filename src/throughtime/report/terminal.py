"""The verdict in a terminal: who learns how far back, why no further, and what would help."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console, ConsoleOptions, Group
from rich.measure import Measurement
from rich.padding import Padding
from rich.panel import Panel
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from throughtime.notation import LAG, STATE
from throughtime.report.readings import MOST, NEARLY_ALL, Examined, Reading, in_steps, number, readings

# By severity, 0 to 3. The sign says it without colour.
SIGNS = ("✓", "·", "▲", "✗")
COLOURS = ("green", "cyan", "yellow", "red")

_BLOCKS = "▁▂▃▄▅▆▇█"
_MINIMUM, _MAXIMUM = 12, 60  # columns of a sparkline


@dataclass(frozen=True)
class Sparkline:
    """Finite values as one line of blocks, as wide as there is room.

    Args:
        values: At even distances.
        low: The value of the lowest block, shared by all lines that are to be compared.
        high: The value of the highest.
    """

    values: np.ndarray
    low: float
    high: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        width = min(options.max_width, _MAXIMUM)
        sampled = np.interp(np.linspace(0, len(self.values) - 1, width), np.arange(len(self.values)), self.values)
        heights = np.round((sampled - self.low) / (self.high - self.low or 1.0) * (len(_BLOCKS) - 1)).astype(int)
        yield Segment("".join(_BLOCKS[height] for height in heights))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(_MINIMUM, options.max_width), min(_MAXIMUM, options.max_width))


@dataclass(frozen=True)
class ReachBar:
    """A part of a whole as a bar on a dotted track, so that both ends are seen without colour."""

    part: float
    style: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        filled = max(round(self.part * options.max_width), int(self.part > 0))
        yield Segment("█" * filled, Style.parse(self.style))
        yield Segment("·" * (options.max_width - filled), Style.parse("dim"))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(_MINIMUM, options.max_width), options.max_width)


def verdicts(examinations: Mapping[str, Examined]) -> Panel:
    """The terminal verdict on every network: first how far back each learns, then why no further.

    Args:
        examinations: By name of the network; "" for the only one.
    """
    all_readings = readings(examinations)
    span = _span(all_readings)
    parts: list[Any] = [_overview(all_readings)]
    told: dict[Any, str] = {}
    for reading in all_readings:
        parts += ["", _details(reading, span, told)]
    notes = [Text(f"{name or 'note'}: {note}", "dim") for name, exam in examinations.items() for note in exam.notes]
    return Panel(
        Group(*parts, *([""] if notes else []), *notes),
        title="[bold]Throughtime[/]",
        subtitle="how far back in time it learns",
        padding=(1, 2),
    )


def _overview(all_readings: Sequence[Reading]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column("network", max_width=26, overflow="fold")
    table.add_column("reach", ratio=1)
    table.add_column("steps", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    if any(reading.has_loss for reading in all_readings):
        table.add_row(
            "",
            Text("0 steps back", "dim"),
            Text(f"reach {NEARLY_ALL:.0%}", "dim"),
            Text(f"of {_steps(all_readings)}", "dim"),
        )
    longest = max(reading.steps for reading in all_readings)
    for reading in all_readings:
        colour = COLOURS[reading.severity]
        window = reading.window(NEARLY_ALL) if reading.has_gradient else 0
        table.add_row(
            Text(reading.label, "bold"),
            ReachBar(window / longest, colour) if reading.has_loss else Text(reading.changes),
            Text(str(window) if reading.has_loss else "", "bold"),
            Text(f"{SIGNS[reading.severity]} {reading.verdict}", colour),
        )
    return table


def _steps(all_readings: Sequence[Reading]) -> str:
    lengths = sorted({reading.steps for reading in all_readings})
    return in_steps(lengths[0]) if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]} steps"


def _details(reading: Reading, span: tuple[float, float], told: dict[Any, str]) -> Group:
    """All of one recurrence; `told` holds the advice that was given, with the name of whom it was given to."""
    heading = Text.assemble((reading.label, "bold underline"), f"  {reading.described}")
    sentence = f"It {reading.learns}. {reading.decays}".strip()
    parts: list[Any] = [heading, Padding(Text(sentence), (0, 0, 0, 2))]
    for finding in reading.findings:
        before = told.setdefault((finding.verdict, finding.remedies), reading.label)
        parts.append(Padding(_finding(finding, "" if before == reading.label else before), (0, 0, 0, 2)))
    parts.append(Padding(_facts(reading, span), (0, 0, 0, 2)))
    return Group(*parts)


def _finding(finding: Any, told_of: str) -> Group:
    colour = COLOURS[finding.severity]
    verdict = Text.assemble((f"{SIGNS[finding.severity]} {finding.verdict}", f"bold {colour}"), f": {finding.evidence}")
    if told_of and finding.remedies:
        return Group(verdict, Text.assemble(("→ ", "bold"), f"what to try: as for {told_of}"))
    remedies = Table.grid(padding=(0, 1, 0, 0))
    for remedy in finding.remedies:
        remedies.add_row(Text("→", "bold"), Text(remedy))
    reference = [Text(finding.reference, "dim italic")] if finding.reference else []
    return Group(verdict, *([remedies] if finding.remedies else []), *reference)


def _facts(reading: Reading, span: tuple[float, float]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    if reading.has_loss:
        most, nearly_all = reading.told_window(MOST), reading.told_window(NEARLY_ALL)
        table.add_row("reach", f"{in_steps(most)} for {MOST:.0%}, {nearly_all} for {NEARLY_ALL:.0%}")
    lags, nats = _profile(reading)
    if len(lags):
        # A lag grid need not be even; the line is drawn over lags, not over grid points.
        even = np.interp(np.linspace(lags[0], lags[-1], 256), lags, nats)
        table.add_row("ln |gradient|", Sparkline(even, *span))
        ends = f"lag {_step(lags[0])} to {lags[-1]}: {number(nats[0], 3)} to {number(nats[-1], 3)} nats"
        table.add_row("", Text(ends, "dim"))
    for fact, words in (
        ("time constants", reading.holds),
        ("step Jacobian", reading.steps_stretch),
        ("first inf", reading.overflows),
    ):
        if words:
            table.add_row(fact, words)
    if reading.has_loss:
        label, _, words = reading.checked.partition(": ")
        table.add_row(label, words)
    return table


def _step(lag: int) -> str:
    return f"{lag}".replace("-", "\N{MINUS SIGN}")


def _profile(reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    profile = reading.measures["lag_profile"].sel({STATE: reading.carried})
    finite = np.isfinite(profile.values)
    return profile[LAG].values[finite], profile.values[finite]


def _span(all_readings: Sequence[Reading]) -> tuple[float, float]:
    """The lowest and the highest value of all lag profiles."""
    nats = np.concatenate([_profile(reading)[1] for reading in all_readings])
    return (float(nats.min()), float(nats.max())) if len(nats) else (0.0, 0.0)
