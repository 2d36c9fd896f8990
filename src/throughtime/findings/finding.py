"""What a verdict is: what is wrong with one recurrence, how badly, by which numbers, and what to try."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Number:
    """One number of the evidence.

    Args:
        quantity: What it is: the name of the variable of the recurrence's Dataset, or a few words.
        value: The number.
        unit: Its unit, "nats", "nats per step", "steps"; "" for a part or a count.
        low: The lower end of its 95 % interval; None where there is none.
        high: The upper end.
        threshold: What it was compared with; None where nothing was.
    """

    quantity: str
    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Finding:
    """One verdict on one recurrence.

    Args:
        verdict: "vanishing", "exploding", "healthy", ...; `throughtime.findings.VERDICTS` lists them.
        recurrence: The name of the recurrence.
        severity: 0 (nothing to do) to 3 (it cannot learn what lies further back).
        evidence: What was measured, in a few sentences with numbers.
        remedies: What to try, the most promising first, each with its reason.
        reference: Where this is described.
        numbers: What the evidence rests on.
        causes: By cause, how many nats it adds to ln |dl_t/ds| from lag 0 to the largest lag; empty where the verdict
            is not about that.
        cause_steps: The steps that these nats are of, so that the evidence can give them per step.
    """

    verdict: str
    recurrence: str
    severity: int
    evidence: str
    remedies: tuple[str, ...] = ()
    reference: str = ""
    numbers: tuple[Number, ...] = ()
    causes: Mapping[str, float] = field(default_factory=dict)
    cause_steps: int = 0


def finding_of(document: Mapping[str, Any]) -> Finding:
    """A finding from the dict that `dataclasses.asdict` makes of it, with lists in place of tuples."""
    members = {**document, "remedies": tuple(document["remedies"])}
    members["numbers"] = tuple(Number(**number) for number in document["numbers"])
    return Finding(**members)
