"""`make faults`: what was planted, what is found, and how often each way of looking is right."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import track
from rich.table import Table

from faults.judged import Judged, Score, asked, rivals, throughtimes
from faults.rivals import RIVALS
from faults.suite import SUITE

# Of the weights, the inputs and the targets of every network. The first draw is what the tests check.
DRAWS = 5


def networks(judged: Sequence[Judged]) -> Table:
    """One line a network."""
    header = ("network", "planted", "Throughtime", *(rival.name for rival in RIVALS))
    table = Table(*header, title="Planted, and found in the first draw")
    for one in judged:
        found = _listed(one.all_found)
        said = [_listed(one.rivals[rival.name]) if rival.name in one.rivals else "" for rival in RIVALS]
        table.add_row(one.network.name, _listed(one.planted), f"[red]{found}[/red]" if one.wrong else found, *said)
    return table


def scores(judged: Sequence[Judged]) -> Table:
    """One line a way of looking, with Throughtime on the same networks beside it."""
    header = ("looked at", "detected", "false alarms", "Throughtime there: detected", "false alarms")
    table = Table(*header, title=f"Right and wrong, over {DRAWS} draws of each network")
    table.add_row("Throughtime", *_rates(throughtimes(judged)), "", "")
    for rival in RIVALS:
        same = throughtimes(asked(judged, rival.name))
        table.add_row(rival.name, *_rates(rivals(judged, rival.name)), *_rates(same))
    return table


def main() -> None:
    """Judge all of them, drawn DRAWS times over, and print both tables."""
    console = Console()
    drawn = [(network, seed) for seed in range(DRAWS) for network in SUITE]
    judged = [Judged.of(*one) for one in track(drawn, "Planted networks", console=console, transient=True)]
    console.print(networks(judged[: len(SUITE)]))
    console.print(scores(judged))
    console.print(
        "Asked is each only about what it could tell: the healthy networks, and those with an illness that it has a "
        "word for. Throughtime must name all illnesses of every recurrence and no other; a rival one that is there.",
        style="dim",
    )


def _listed(verdicts: frozenset[str]) -> str:
    return ", ".join(sorted(verdicts)) or "–"


def _rates(score: Score) -> tuple[str, str]:
    return (
        f"{score.detected} of {score.ill} ({score.detected / score.ill:.0%})",
        f"{score.alarms} of {score.healthy} ({score.alarms / score.healthy:.0%})",
    )


if __name__ == "__main__":
    main()
