"""What may be followed step by step, and where its states are found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from throughtime.capture.watch import Call, Callee, Key

# What states are called that are hidden or carried for certain.
_HIDDEN, _CARRIED = re.compile(r"^(h|hx|h_.*|hidden.*)$", re.I), re.compile(r"^(c|cx|c_.*|cell.*)$", re.I)


@dataclass(frozen=True)
class State:
    """One state of a loop, and where it is found.

    Args:
        name: Its label: "h", "c", "s3", ...
        entering: The place among what a call receives, or among the variables of its caller.
        leaving: The place among what a call returns; None where the loop makes the state outside of the call.
    """

    name: str
    entering: str
    leaving: str | None


@dataclass(frozen=True)
class Candidate:
    """A module or function that may be followed.

    Args:
        callee: What is called.
        name: What its recurrence is called.
        calls: All of its calls.
        states: Its states.
        lines: Those of its calls, where calls by other lines are not of the loop; None for all.
    """

    callee: Callee
    name: str
    calls: Sequence[Call] = field(repr=False)
    states: tuple[State, ...]
    lines: frozenset[int] | None = None

    @property
    def key(self) -> Key:
        """By which it is recognised in another run."""
        return self.callee.key

    def made(self, call: Call) -> bool:
        """Whether a call of any run is one of its own."""
        return call.callee.key == self.key and (self.lines is None or call.line in self.lines)

    @property
    def inline(self) -> bool:
        """Whether the states are variables around the call rather than what it receives and returns."""
        return self.states[0].leaving is None


def inside(some: Sequence[Call], others: Sequence[Call]) -> bool:
    """Whether any of the calls was made from inside any of the others."""
    around = set(others)
    return any(not around.isdisjoint(call.around()) for call in some)


def in_order(states: Iterable[State]) -> tuple[State, ...]:
    """h first, then c, then the others."""
    return tuple(sorted(states, key=lambda state: {"h": "0", "c": "1"}.get(state.name, state.name)))


def labels(given: Sequence[str]) -> list[str]:
    """Labels: h and c by their own names where these say so, otherwise in the order in which they stand."""
    if len(given) == 2 and _CARRIED.match(given[0]) and _HIDDEN.match(given[1]):
        return ["c", "h"]
    return [("h", "c")[index] if index < 2 else f"s{index + 1}" for index in range(len(given))]
