"""Numbers in words."""

import pytest

from throughtime.findings import Number
from throughtime.findings.wording import with_interval


@pytest.mark.parametrize(
    ("value", "low", "high", "words"),
    [
        (-4.7, -4.9, -4.5, "4.7 nats (95 %: 4.5 to 4.9)"),
        (4.7, 4.5, 4.9, "4.7 nats (95 %: 4.5 to 4.9)"),
        (-0.67, -2.03, 0.69, "0.67 nats (95 %: −0.69 to 2.03)"),
        (-0.67, None, None, "0.67 nats"),
        (-8956.0, -9100.0, -8800.0, "8960 nats (95 %: 8800 to 9100)"),
        (2e9, None, None, "2e+09 nats"),
    ],
)
def test_a_size_has_the_ends_of_its_interval(value, low, high, words) -> None:
    assert with_interval(Number("lag_profile", value, "nats", low, high)) == words
