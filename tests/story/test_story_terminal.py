"""The story in a terminal."""

import io
import math

import pytest
from rich.console import Console

from throughtime import story
from throughtime.compare.agreement import Accuracy
from throughtime.story.claim import shown, verdict
from throughtime.story.writing import percent, product, size


def printed(told, width=80):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(story.render(told))
    return console.export_text()


def test_every_factor_and_every_term_is_named(four_words):
    text = printed(four_words)
    for factor in ("dl₄/dy₄", "dy₄/dh₄", "dh₄/dW_hx", "dh₄/dW_hh", "dl₄/dW_hx", "dl₄/dW_hh", "J₄ J₃ J₂"):
        assert factor in text
    for part in ("autograd", "difference", "carry", "keep gate", "candidate", "write gate", "reach", "LSTM"):
        assert part in text
    assert "more" not in text.split("5  Was or were")[0]


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(four_words, many_words, width):
    for told in (four_words, many_words):
        assert max(map(len, printed(told, width).splitlines())) <= width


def test_a_long_sentence_shows_its_ends(many_words):
    text = printed(many_words)
    assert "… 108 more terms, all in --out story.html" in text
    assert "… 107 more step Jacobians, all in --out story.html" in text
    assert "J₁₂₀…J₂ " in text
    assert "“<script>alert(1)</script>”, “&”" in printed(many_words, 120)


def test_one_word_needs_no_jacobian(one_word):
    text = printed(one_word)
    assert "the first word is the last" in text
    assert "a sum over 1 word" in text


def test_markup_in_a_sentence_is_text(tell):
    assert "[bold]cats[/bold]₂" in printed(tell("the [bold]cats[/bold] \x1b[31m"))


@pytest.mark.parametrize(
    ("ln_norm", "text"),
    [
        (0.0, "1.00"),
        (-math.inf, "0"),
        (math.log(0.00180), "0.00180"),
        (math.log(123.4), "123"),
        (math.log(9.999), "10.0"),
        (-2000 * math.log(10) + math.log(3.5), "3.50·10⁻²⁰⁰⁰"),
        (math.log(9.9999e-9), "1.00·10⁻⁸"),
        (math.log(123456), "1.23·10⁵"),
    ],
)
def test_sizes(ln_norm, text):
    assert size(ln_norm) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (1e-9, "≈ 0 %"), (-0.00123, "−0.12 %"), (0.139, "13.9 %"), (1.0, "100.0 %")]
)
def test_shares(share, text):
    assert percent(share).replace("\u00a0", " ") == text


def test_products():
    assert product(4, 4) == ""
    assert product(4, 1) == "J₄ J₃ J₂"
    assert product(12, 1) == "J₁₂…J₂"
    assert product(12, 11) == "J₁₂"


def test_the_claim_is_judged_by_the_lower_end_of_its_interval():
    assert verdict(Accuracy(1, 400, 400)) == "known"
    assert verdict(Accuracy(1, 210, 400)) == "guessing"
    assert verdict(Accuracy(1, 300, 400)) == "partly"
    assert shown(Accuracy(1, 399, 400)) == "99"
    assert shown(Accuracy(1, 400, 400)) == "100"
