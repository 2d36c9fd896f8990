"""The page in a browser: everything is drawn, and what can be pointed at answers."""

import re

import pytest

from throughtime import report

pytestmark = pytest.mark.browser
ATTACK = "<script>alert(1)</script>"


@pytest.fixture
def page(two, tmp_path, open_page):
    report.write_html(two, tmp_path / "report.html")
    return open_page(tmp_path / "report.html")


def test_every_picture_is_drawn(page):
    plots = page.locator(".plot").all()
    assert len(plots) == 14
    for plot in plots:
        box = plot.locator("svg.main-svg").first.bounding_box()
        assert box["width"] > 100
        assert box["height"] > 50
    assert page.locator(".heatmaplayer image").count() == 1 + 3


def test_the_answer_is_the_first_thing_seen(page):
    assert page.locator("h1").bounding_box()["y"] < 200
    assert page.locator(".reaches .verdict").last.bounding_box()["y"] < 400
    assert page.locator(".card").first.bounding_box()["y"] < 900


def test_a_cell_of_a_map_says_what_it_is(page):
    cell = page.locator("#gradient_map .plot .nsewdrag").first
    cell.scroll_into_view_if_needed()
    box = cell.bounding_box()
    page.wait_for_timeout(200)  # the scrolling is over: it hides the label
    page.mouse.move(box["x"] + 6, box["y"] + box["height"] - 6)
    label = page.locator("#label")
    label.wait_for()
    assert label.inner_text().replace("\n", " ") == "ln |dl12/dh0| = −8.318 nats t = 12 ‘w’, i = 0, lag 12"
    page.mouse.move(box["x"] + box["width"] - 6, box["y"] + 6)
    page.wait_for_function("document.getElementById('label').textContent.includes('exactly zero')")


def fills(page):
    return page.eval_on_selector_all(".strip .token.coloured", "all => all.map(t => t.dataset.step + t.style.cssText)")


def test_a_click_on_the_text_follows_another_loss(page):
    assert len(fills(page)) == 13
    page.click('.strip .token[data-step="4"]')
    assert [step[: step.index("-")] for step in fills(page)] == ["0", "1", "2", "3", "4"]
    assert page.locator(".strip output").inner_text() == "the loss at t = 4 ‘ ’"
    assert page.locator(".token.loss").get_attribute("data-step") == "4"


def test_arrow_keys_move_the_loss(page):
    page.focus(".strip .text")
    for key, step in (("ArrowLeft", "11"), ("ArrowLeft", "10"), ("ArrowRight", "11"), ("Home", "1"), ("End", "12")):
        page.keyboard.press(key)
        assert page.locator(".token.loss").get_attribute("data-step") == step


def test_another_state_has_other_colours(page):
    before = fills(page)
    page.select_option(".strip select", label="keeping: c")
    assert fills(page) != before
    page.select_option(".strip select", label="keeping: h")
    assert len(fills(page)) == 1
    assert page.locator(".token.zero").count() == 12


def test_a_character_says_what_it_is(page):
    page.hover('.strip .token[data-step="10"]')
    assert "t = 12 ‘w’, i = 10 ‘s’, lag 2" in page.locator("#label").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone_in_both_schemes(two, tmp_path, open_page, scheme):
    report.write_html(two, tmp_path / "report.html")
    phone = open_page(tmp_path / "report.html", viewport={"width": 390, "height": 844}, color_scheme=scheme)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    ink = phone.evaluate("getComputedStyle(document.body).color")
    tick = phone.locator(".xtick text").first.evaluate("element => getComputedStyle(element).fill")
    assert re.findall(r"\d+", ink)[:3] == re.findall(r"\d+", tick)[:3]


def test_hostile_words_are_only_shown(linear, tmp_path, open_page):
    exam = linear(name=ATTACK, tokens=(*tuple("the cats sa"), ATTACK), notes=(ATTACK,), evidence=ATTACK)
    report.write_html({ATTACK: exam}, tmp_path / "report.html")
    page = open_page(tmp_path / "report.html")
    assert ATTACK in page.locator("h1").inner_text()
    page.hover('.strip .token[data-step="12"]')
    assert ATTACK in page.locator("#label").inner_text()
    assert ATTACK in page.locator("#mean_causes .plot").text_content()


def test_a_cell_of_a_map_without_a_loss_says_what_it_is(lossless, tmp_path, open_page):
    report.write_html({"": lossless()}, tmp_path / "report.html")
    page = open_page(tmp_path / "report.html")
    assert page.locator(".plot svg.main-svg").count() >= len(page.locator(".plot").all()) == 8
    cell = page.locator("#gradient_map .plot .nsewdrag").first
    cell.scroll_into_view_if_needed()
    box = cell.bounding_box()
    page.wait_for_timeout(200)  # the scrolling is over: it hides the label
    page.mouse.move(box["x"] + 6, box["y"] + box["height"] - 6)
    label = page.locator("#label")
    label.wait_for()
    assert label.inner_text().startswith("ln |v·dh12/dh0| = −8.318 nats")


def test_a_notebook_shows_the_report_in_its_frame(two, tmp_path, open_page):
    (tmp_path / "notebook.html").write_text(f"<!doctype html><html>{report.to_html(two, notebook=True)}</html>")
    page = open_page(tmp_path / "notebook.html", ready="iframe")
    frame = page.frame_locator("iframe")
    frame.locator("html.drawn").wait_for(state="attached")
    assert frame.locator("h1").inner_text().startswith("keeping learns from the last 10 of 12 steps")


@pytest.fixture
def many(stacked, tmp_path, open_page):
    """A page of twelve recurrences."""
    report.write_html({"": stacked(*(0.5 + 0.04 * k for k in range(12)))}, tmp_path / "report.html")
    return lambda **options: open_page(tmp_path / "report.html", **options)


def test_one_recurrence_among_many_has_a_page_of_its_own(many):
    page = many()
    assert page.locator(".card .plot svg").count() == 0  # folded, so not drawn
    page.select_option("#focus", label="l7")
    assert (
        page.locator("[data-reading]:not(tr):visible").evaluate_all("all => all.map(e => e.dataset.reading)")
        == ["7"] * 3
    )
    page.wait_for_function("document.querySelectorAll('#recurrence-7 .plot svg.main-svg').length > 1")
    opacity = "document.querySelector('#lag_profile .plot').data.map(trace => [trace.meta.reading, trace.opacity])"
    assert {place for place, opacity in page.evaluate(opacity) if opacity == 1} == {7}
    page.select_option("#focus", "")
    assert {opacity for _, opacity in page.evaluate(opacity)} == {1}
    assert page.locator("#gradient_map figure:visible").count() == 12


def test_a_link_opens_what_is_folded(many):
    page = many()
    page.click(".reaches a >> text=l11")
    page.wait_for_function("document.querySelectorAll('#recurrence-11 .plot svg.main-svg').length > 1")
    assert page.locator("#recurrence-11").bounding_box()["y"] < 900


def test_many_recurrences_fit_a_phone(many):
    page = many(viewport={"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("format", ["png", "svg"])
def test_a_picture_is_saved_from_the_page(page, format):
    figure = page.locator("#lag_profile figure")
    figure.hover()
    with page.expect_download() as download:
        figure.get_by_role("button", name=format.upper()).click()
    content = download.value.path().read_bytes()
    assert download.value.suggested_filename == f"Lag-profile.{format}"
    assert content.startswith(b"\x89PNG" if format == "png" else b"<svg")
    assert len(content) > 5000


def test_a_saved_picture_stands_by_itself(two, tmp_path, open_page):
    report.write_html(two, tmp_path / "report.html")
    page = open_page(tmp_path / "report.html", color_scheme="dark")
    figure = page.locator("#gradient_map figure").first
    figure.hover()
    with page.expect_download() as download:
        figure.get_by_role("button", name="SVG").click()
    svg = download.value.path().read_text()
    for words in ("Gradient map: vanishing", "loss step t", "nats", "rgb(255, 255, 255)", "rgb(29, 33, 38)"):
        assert words in svg


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_is_light_and_has_no_controls(stacked, tmp_path, open_page, scheme):
    report.write_html({"": stacked(0.5, 0.6, 0.7, 0.8, 0.9)}, tmp_path / "report.html")
    page = open_page(tmp_path / "report.html", color_scheme=scheme)
    page.emulate_media(media="print", color_scheme=scheme)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function("[...document.querySelectorAll('.plot')].every(plot => plot.data)")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(29, 33, 38)"
    assert page.locator("nav, .saving button").evaluate_all("all => all.filter(e => e.offsetParent).length") == 0
    tick = page.locator("#lag_profile .xtick text").first.evaluate("element => getComputedStyle(element).fill")
    assert tick == "rgb(29, 33, 38)"
    widths = page.locator(".plot svg.main-svg").evaluate_all("all => all.map(svg => svg.getBoundingClientRect().width)")
    assert max(widths) <= 680
    broken = "all => all.filter(e => getComputedStyle(e).breakInside !== 'avoid').length"
    assert page.locator("figure").evaluate_all(broken) == 0
