"""`--fail-on`: findings that end the program with an exit code of their own, for continuous integration."""

from collections.abc import Collection, Mapping

from throughtime.cli.failures import CheckFailed
from throughtime.examination import Examination
from throughtime.findings import ILLNESSES


def verdicts_named(text: str | None) -> frozenset[str]:
    """The verdicts that are named in "vanishing,dead-relu": in any case, with hyphens in place of spaces.

    Raises:
        ValueError: One of them is no verdict; the message lists those that there are.
    """
    if text is None:
        return frozenset()
    known = {_typed(verdict): verdict for verdict in ILLNESSES}
    named = [_typed(name) for name in text.split(",")]
    for name in named:
        if name not in known:
            raise ValueError(f"--fail-on: expected some of {', '.join(known)}, with commas between; found {name!r}")
    return frozenset(known[name] for name in named)


def check(examinations: Mapping[str, Examination], verdicts: Collection[str]) -> None:
    """Refuse examinations with findings that were asked to fail on.

    Raises:
        CheckFailed: There are such findings; the message has one line for each.
    """
    found = [
        f"{' · '.join(filter(None, (network, finding.recurrence)))}: {finding.verdict}: {finding.evidence}"
        for network, examination in examinations.items()
        for finding in examination.findings
        if finding.verdict in verdicts
    ]
    if found:
        raise CheckFailed("\n".join(found))


def _typed(verdict: str) -> str:
    return verdict.strip().lower().replace(" ", "-")
