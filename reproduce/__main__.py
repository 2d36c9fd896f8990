"""`make reproduce`: every claim, what was published, what comes of it here, and whether it holds."""

import sys
import time
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table

from reproduce.baselines import BASELINES
from reproduce.chrono import CHRONO
from reproduce.claim import Claim
from reproduce.flossing import FLOSSING
from reproduce.long_time_lags import LONG_TIME_LAGS

CLAIMS = (BASELINES, LONG_TIME_LAGS, FLOSSING, CHRONO)


def reproduced(claims: Sequence[Claim], console: Console) -> tuple[Table, bool]:
    """The table, and whether all claims hold. A claim whose own check fails has no numbers and no verdict."""
    table = Table("", "claim", "published", "here", "verdict", title="Published, and computed again")
    all_hold = True
    for claim in claims:
        console.print(f"{claim.name}: {claim.source}", style="dim", highlight=False)
        start, wrong = time.perf_counter(), claim.check()
        if wrong:
            table.add_row(str(claim.number), claim.name, "", "", f"none, its own check failed: {wrong}")
            all_hold = False
            continue
        for found in claim.numbers():
            verdict = "[green]holds[/green]" if found.holds else "[red]does not hold[/red]"
            table.add_row(str(claim.number), found.claim, found.published, found.ours, verdict)
            all_hold = all_hold and found.holds
        console.print(f"  {time.perf_counter() - start:.0f} s", style="dim", highlight=False)
        table.add_section()
    return table, all_hold


def main() -> int:
    """All of them; 1 where one does not hold."""
    # The matrices of a step are so small that a second thread would only be waited for.
    torch.set_num_threads(1)
    console = Console()
    table, all_hold = reproduced(CLAIMS, console)
    console.print(table)
    return 0 if all_hold else 1


if __name__ == "__main__":
    sys.exit(main())
