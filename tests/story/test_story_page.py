"""The story as a page."""

import json
import re

import pytest

from throughtime import story

ATTACK = "<script>alert(1)</script>"


def test_nothing_of_a_sentence_is_markup(many_words):
    page = story.to_html(many_words)
    own = page.replace(
        page[page.index("plotly.js v") : page.index("use strict", page.index("plotly.js v") + 10**6)], ""
    )
    assert ATTACK not in own
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in own


def test_every_term_is_on_the_page(many_words):
    page = story.to_html(many_words)
    for step in (1, 60, 120):
        assert f"<td>{step}</td>" in page
    assert "All 119 step Jacobians" in page


def test_pictures_hold_what_was_measured(four_words):
    page = story.to_html(four_words)
    figures = [json.loads(found) for found in re.findall(r'<script type="application/json">(.*?)</script>', page)]
    assert len(figures) == 5
    terms = figures[0]
    assert terms["data"][0]["name"] == "RNN, W<sub>hx</sub>"
    assert terms["data"][0]["x"] == ["1 the", "2 cats", "3 I", "4 saw"]
    assert all("title" in axis for figure in figures[:4] for key, axis in figure["layout"].items() if "axis" in key)


def test_one_word_has_no_product_to_show(one_word):
    page = story.to_html(one_word)
    assert len(re.findall('<script type="application/json">', page)) == 3
    assert "the first word is the last" in page


def test_a_page_is_written_whole_or_not_at_all(four_words, tmp_path):
    story.write_html(four_words, tmp_path / "story.html")
    assert (tmp_path / "story.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(OSError):
        story.write_html(four_words, tmp_path / "no" / "story.html")


pages = pytest.mark.parametrize("told", ["four_words", "one_word", "many_words"])


@pytest.mark.browser
@pages
@pytest.mark.parametrize("width", [1280, 390])
def test_everything_is_drawn_and_fits(told, width, request, tmp_path, open_page):
    told = request.getfixturevalue(told)
    story.write_html(told, tmp_path / "story.html")
    page = open_page(tmp_path / "story.html", viewport={"width": width, "height": 900}, color_scheme="dark")
    plots = page.locator(".plot").all()
    assert len(plots) == (3 if len(told.words) == 1 else 5)
    for plot in plots:
        assert plot.locator(".barlayer path, .scatterlayer path").count() > 0
    assert page.locator("math").count() > 8
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_a_bar_says_what_it_is(four_words, tmp_path, open_page):
    story.write_html(four_words, tmp_path / "story.html")
    page = open_page(tmp_path / "story.html")
    bar = page.locator(".plot").first.locator(".nsewdrag").first
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.09, box["y"] + box["height"] - 8)
    page.wait_for_selector(".hovertext")
    assert "its share of the gradient" in page.locator(".hovertext").first.text_content()
