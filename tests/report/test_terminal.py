import io

import pytest
from rich.console import Console

from throughtime.report import verdicts


def printed(examinations, width):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(verdicts(examinations))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_verdicts_are_there_without_colour(two, width):
    text = printed(two, width)
    for words in (
        "✗ vanishing",
        "✓ healthy",
        "learns from the last 6 of 12 steps",
        "learns from the last 10 of 12 steps",
        "The weights are below 1.",
        "→ Start from a weight of 1.",
        "3 steps for 90%, 6 for 99%",
        "within 3e-16",
        "lag 0 to 12: 0.00 to −8.32 nats",
        "A note.",
    ):
        assert words in text
    assert max(map(len, text.splitlines())) <= width


def test_without_a_loss_the_states_are_told_of(lossless):
    text = printed({"": lossless()}, 100)
    for words in (
        "l0  halves every step",
        "It was examined without a loss. A gradient that passes back",
        "time constants  median 10 steps",
        "step Jacobian   largest singular value 0.50 to 0.50",
        "note: No loss.",
    ):
        assert words in text
    for words in ("reach", "self-check", "no gradient", "█"):
        assert words not in text.replace("▁▂▃▄▅▆▇█", "").replace(sparkline(text), "")


def sparkline(text):
    return next(line for line in text.splitlines() if "ln |gradient|" in line)


def test_with_and_without_a_loss_side_by_side(linear, lossless):
    text = printed({"with": linear(), "without": lossless()}, 100)
    assert "learns from the last 6 of 12 steps" in text and "was examined without a loss" in text
    assert text.count("self-check") == 1


def test_the_bars_are_as_long_as_the_reach(two):
    lines = printed(two, 100).splitlines()
    short, long = (next(line for line in lines if line.startswith(f"│  {name}")) for name in two)
    for line, reach in ((short, 6), (long, 10)):
        assert line.count("█") / (line.count("█") + line.count("·")) == pytest.approx(reach / 12, abs=0.02)


def test_markup_in_a_name_is_printed_as_it_is(linear):
    assert "[red]" in printed({"[red]name": linear(evidence="[bold]evidence")}, 80)
    assert "[bold]" in printed({"[red]name": linear(evidence="[bold]evidence")}, 80)


def test_one_network_without_a_name(linear):
    assert "l0" in printed({"": linear()}, 80)


def test_the_same_advice_is_given_once(stacked):
    text = printed({"": stacked(0.5, 0.6, 1.0)}, 80)
    assert text.count("Start from a weight of 1.") == 2  # once vanishing, once healthy
    assert text.count("what to try: as for l0") == 1
