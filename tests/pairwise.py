"""Configurations in which every two values of different axes meet at least once: far fewer than their product."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any


def pairwise(axes: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Chosen one by one from the whole product, each for the most pairs that had not met yet."""
    product = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    missing = set().union(*map(_pairs, product))
    chosen = []
    while missing:
        best = max(product, key=lambda one: len(_pairs(one) & missing))
        missing -= _pairs(best)
        chosen.append(best)
    return chosen


def named(configuration: Mapping[str, Any]) -> str:
    """The name of a test."""
    return "-".join(str(value) for value in configuration.values())


def _pairs(configuration: Mapping[str, Any]) -> set[Any]:
    return set(itertools.combinations(configuration.items(), 2))
