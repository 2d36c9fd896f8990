"""Claims that are computed again: their own checks pass, and a claim whose check fails gets no verdict."""

import io
from collections.abc import Iterator

import pytest
from reproduce.__main__ import CLAIMS, reproduced
from reproduce.baselines import BASELINES
from reproduce.claim import Claim, Found
from rich.console import Console


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_what_a_claim_rests_on_is_right(claim: Claim) -> None:
    assert claim.check() == ""


def test_the_baselines_hold() -> None:
    assert all(found.holds for found in BASELINES.numbers())


def shown(claim: Claim) -> tuple[str, bool]:
    console = Console(file=io.StringIO(), width=160)
    table, all_hold = reproduced([claim], console)
    console.print(table)
    return console.file.getvalue(), all_hold


@pytest.mark.parametrize(("holds", "said"), [(True, "holds"), (False, "does not hold")])
def test_the_table_says_what_holds(holds: bool, said: str) -> None:
    def numbers() -> Iterator[Found]:
        yield Found("a number", "1", "2", holds)

    text, all_hold = shown(Claim(1, "a claim", "somebody", lambda: "", numbers))
    assert said in text and all_hold == holds


def test_without_its_check_there_is_no_verdict() -> None:
    def numbers() -> Iterator[Found]:
        raise AssertionError("not to be computed")

    text, all_hold = shown(Claim(1, "a claim", "somebody", lambda: "one is not two", numbers))
    assert "its own check failed: one is not two" in text and "holds" not in text.replace("does not hold", "")
    assert not all_hold
