import html
import json
import re

import pytest

from throughtime import report
from throughtime.report.page import embedded

ATTACK = "<script>alert(1)</script>"


def test_the_answer_comes_first_and_in_words(two):
    page = report.to_html(two)
    body = page[page.index("<body>") :]
    heading = re.search(r"<h1>(.*?)</h1>", body).group(1)
    assert heading == "keeping learns from the last 10 of 12 steps, vanishing from the last 6."
    assert body.index("<h1>") < body.index("What stops it: The weights are below 1.") < body.index('class="plot"')
    assert "Start from a weight of 1." in body


def test_one_network_is_this_network(linear):
    assert "<h1>This network learns from the last 6 of 12 steps.</h1>" in report.to_html({"": linear()})


def test_the_users_words_are_escaped_everywhere(linear):
    tokens = (*tuple("the cats sa"), ATTACK)
    exam = linear(name=ATTACK, tokens=tokens, notes=(ATTACK,), evidence=ATTACK, remedy=ATTACK)
    exam[ATTACK].attrs["equations"] = rf"h_t = \text{{{ATTACK}}}"
    page = report.to_html({ATTACK: exam})
    assert ATTACK not in page
    assert html.escape(ATTACK) in page


def test_embedded_json_cannot_leave_its_element():
    value = "</script><!-- <script> & \u2028 \u2029"
    text = embedded(json.dumps(value, ensure_ascii=False))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_without_a_loss_the_page_is_about_the_states(lossless):
    page = report.to_html({"": lossless()})
    body = page[page.index("<body>") : page.index("<footer>")]
    assert "<h1>A gradient that passes back through l0 halves every step; no loss was followed.</h1>" in body
    headings = re.findall(r"<h2>([^<]*)</h2>", body)
    assert headings == [
        "Where the gradient is",
        "How fast it fades",
        "What shrinks it",
        "How long its units hold",
        "What a single step does",
        "How to read this",
        "Notes",
    ]
    assert "ln |v·dh<sub>t</sub>/dh<sub>i</sub>|" in body
    assert not re.search(r"\breach\b|self-check|dl<sub>|loss l<sub>", body, re.IGNORECASE)


def test_headlines_without_a_loss(lossless):
    half, keeping = lossless(0.5, name="half"), lossless(2**-0.1, name="keeping")
    page = report.to_html({"a": half, "b": keeping})
    assert "through b halves every 10 steps, through a halves every step; no loss was followed." in page
    assert "through b or any other of them halves every step;" in report.to_html({"a": half, "b": lossless()})


def test_with_and_without_a_loss_on_one_page(linear, lossless):
    page = report.to_html({"with": linear(), "without": lossless()})
    assert "<h1>with learns from the last 6 of 12 steps.</h1>" in page
    assert "What the weights learn from" in page and "What a single step does" in page


def test_every_picture_is_strict_json(two):
    def refuse(constant):
        raise AssertionError(constant)

    documents = re.findall(r'<script type="application/json">(.*?)</script>', report.to_html(two), re.DOTALL)
    assert len(documents) == 3 + 1 + 3 + 2  # maps, the text, the lines and bars, the causes
    for document in documents:
        json.loads(document, parse_constant=refuse)


def test_a_page_names_no_address(two):
    page = report.to_html(two)
    scripts = re.findall(r"<script>.*?</script>", page, re.DOTALL)
    for script in scripts:
        page = page.replace(script, "")
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert page.count("http") == page.count('xmlns="http://www.w3.org/1998/Math/MathML"')


def test_a_notebook_gets_a_frame_of_its_own(linear):
    fragment = report.to_html({"": linear()}, notebook=True)
    assert fragment.startswith("<iframe")
    assert "<h1>" not in fragment
    assert "<h1>" in html.unescape(fragment)


def test_a_report_is_written(tmp_path, linear):
    linear().to_html(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("losses", [[12], [3, 6, 12], None])
def test_any_choice_of_losses_makes_a_page(linear, losses):
    assert "Where the gradient is" in report.to_html({"": linear(losses=losses)})
