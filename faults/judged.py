"""Every planted network, judged by Throughtime and by its rivals, and how often each is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from faults.planted import Planted
from faults.rivals import PLAINLY, RIVALS
from throughtime.findings import ILLNESSES


@dataclass(frozen=True)
class Judged:
    """One network.

    Args:
        network: What was planted.
        found: By recurrence, Throughtime's verdicts but "healthy".
        rivals: By name of those that can look at it, what they say.
    """

    network: Planted
    found: dict[str, frozenset[str]]
    rivals: dict[str, frozenset[str]]

    @classmethod
    def of(cls, network: Planted, seed: int = 0) -> Judged:
        """Built and looked at anew by each, so that none sees what another has left behind."""
        exam = network.built(seed).examined()
        found = {
            name: frozenset(one.verdict for one in exam.findings if one.recurrence == name) & frozenset(ILLNESSES)
            for name in exam.recurrences
        }
        looking = [(rival, case) for rival in RIVALS if rival.can_look_at(case := network.built(seed))]
        return cls(network, found, {rival.name: rival.verdicts(case) for rival, case in looking})

    @property
    def wrong(self) -> dict[str, frozenset[str]]:
        """By recurrence, the verdicts that are missing or should not be there; empty where all is right."""
        names = {*self.found, *self.network.expected}
        wrong = {
            name: self.found.get(name, frozenset()) ^ self.network.expected.get(name, frozenset()) for name in names
        }
        return {name: verdicts for name, verdicts in wrong.items() if verdicts}

    @property
    def planted(self) -> frozenset[str]:
        """All verdicts that it must get."""
        return frozenset().union(*self.network.expected.values())

    @property
    def all_found(self) -> frozenset[str]:
        """All verdicts that Throughtime gave."""
        return frozenset().union(*self.found.values())


@dataclass(frozen=True)
class Score:
    """How often one way of looking is right.

    Args:
        ill: Networks with an illness that it could name.
        detected: Of these, those of which it names one that is there.
        healthy: Healthy networks that it can look at.
        alarms: Of these, those in which it finds anything.
    """

    ill: int
    detected: int
    healthy: int
    alarms: int


def throughtimes(judged: Sequence[Judged]) -> Score:
    """Throughtime's own: a network counts as detected when every recurrence has just the verdicts planted in it."""
    ill = [one for one in judged if one.planted]
    healthy = [one for one in judged if not one.planted]
    return Score(len(ill), sum(not one.wrong for one in ill), len(healthy), sum(bool(one.all_found) for one in healthy))


def asked(judged: Sequence[Judged], rival: str) -> list[Judged]:
    """The networks that a rival is asked about: the healthy ones, and those with an illness that it could name."""
    answers = {one.name: one.answers for one in RIVALS}[rival]
    return [one for one in judged if rival in one.rivals and (not one.planted or plainly(one.planted) & answers)]


def rivals(judged: Sequence[Judged], rival: str) -> Score:
    """A rival's, on what it is asked about."""
    ill = [one for one in asked(judged, rival) if one.planted]
    healthy = [one for one in asked(judged, rival) if not one.planted]
    detected = sum(bool(one.rivals[rival] & plainly(one.planted)) for one in ill)
    return Score(len(ill), detected, len(healthy), sum(bool(one.rivals[rival]) for one in healthy))


def plainly(verdicts: frozenset[str]) -> frozenset[str]:
    """Throughtime's verdicts in the words of the rivals; what they have no word for is left out."""
    return frozenset(PLAINLY[verdict] for verdict in verdicts if verdict in PLAINLY)
