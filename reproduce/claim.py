"""What was claimed, and what comes of it here."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """One number.

    Args:
        claim: What was claimed.
        published: The number that was.
        ours: What it is here.
        holds: Whether the claim does.
    """

    claim: str
    published: str
    ours: str
    holds: bool


@dataclass(frozen=True)
class Claim:
    """One publication.

    Args:
        number: In the table of facts.
        name: In a few words.
        source: Who, and where.
        check: Says what is wrong with what the numbers rest on, "" if nothing is. Without it there is no verdict.
        numbers: Computes them, one after the other.
    """

    number: int
    name: str
    source: str
    check: Callable[[], str]
    numbers: Callable[[], Iterator[Found]]
