"""The progress: moving bars in a terminal, plain lines elsewhere."""

import io

from rich.console import Console

from throughtime.cli.progress import Display


def shown(**keywords) -> str:
    file = io.StringIO()
    with Display(Console(file=file, width=80, **keywords), ["GRU", "LSTM"]) as display:
        for done in range(1, 4):
            display.update("GRU", "training" if done < 3 else "trained", done, 3, f"{done}.50 nats")
        for done in range(1, 3):
            display.update("GRU", "examining [l0]", done, 2)
        display.update("late [bold]", "training", 1, 4)
    return file.getvalue()


def test_without_a_terminal_one_plain_line_for_each_finished_piece() -> None:
    assert shown() == "GRU: trained, 3 steps, 3.50 nats\nGRU: examining [l0], 2 steps\n"


def test_in_a_terminal_every_network_has_its_bar() -> None:
    last = shown(force_terminal=True, color_system=None).split("\x1b")[-3:]
    text = "".join(last)
    for part in ("GRU", "examining [l0]", "100 %", "3.50 nats", "LSTM", "waiting", "late [bold]", "25 %"):
        assert part in text
    assert "GRU: trained" not in text


def test_a_dumb_terminal_gets_lines() -> None:
    assert "GRU: trained, 3 steps" in shown(force_terminal=True, color_system=None, _environ={"TERM": "dumb"})
