"""How far the work has come: bars in a terminal, one plain line per finished piece of work elsewhere."""

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Display:
    """One bar per name; a context manager.

    Args:
        console: Where to.
        names: Of bars that stand there from the start, waiting for their turn.
    """

    def __init__(self, console: Console, names: Iterable[str] = ()) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            TextColumn("{task.fields[phase]}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[value]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_interactive,
            expand=True,
        )
        self._bars: dict[str, TaskID] = {}
        self._done: dict[str, int] = {}
        for name in names:
            self._add(name, "waiting")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, place: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, name: str, phase: str, done: int, total: int, value: str = "", unit: str = "step") -> None:
        """Move a bar.

        Args:
            name: Whose; a new name gets a new bar.
            phase: What is being done.
            done: Units done; fewer than before begins at the left again.
            total: Units in all.
            value: What has been reached so far; "" leaves what stands there.
            unit: What is counted.
        """
        if name not in self._bars:
            self._add(name, phase)
        bar = self._bars[name]
        if done <= self._done[name]:
            self._progress.reset(bar, total=total)
        self._done[name] = done
        shown = {"phase": phase} | ({"value": value} if value else {})
        self._progress.update(bar, completed=done, total=total, **shown)  # type: ignore[arg-type]
        if done == total and not self._console.is_interactive:
            line = ", ".join(part for part in (phase, f"{total} {unit}{'s' * (total != 1)}", value) if part)
            self._console.print(f"{name}: {line}", markup=False, highlight=False, soft_wrap=True)

    def _add(self, name: str, phase: str) -> None:
        # Not started: a bar that waits for its turn is not at work.
        self._bars[name] = self._progress.add_task(name, start=False, total=None, phase=phase, value="")
        # Its first step counts as a beginning, too.
        self._done[name] = sys.maxsize
