"""Verdicts: what the measures of one recurrence mean, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One verdict on one recurrence.

    Args:
        verdict: "vanishing", "exploding", "healthy", ...
        recurrence: The name of the recurrence.
        severity: 0 (nothing to do) to 3 (it cannot learn what lies further back).
        evidence: What was measured, in one or two sentences with numbers.
        remedies: What to try, the most promising first.
        reference: Where this is described.
    """

    verdict: str
    recurrence: str
    severity: int
    evidence: str
    remedies: tuple[str, ...] = ()
    reference: str = ""
