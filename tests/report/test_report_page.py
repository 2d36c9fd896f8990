import html
import json
import re

import pytest

from throughtime import report
from throughtime.report.embedding import embedded

ATTACK = "<script>alert(1)</script>"


def test_the_answer_comes_first_and_in_words(two):
    page = report.to_html(two)
    body = page[page.index("<body>") :]
    heading = re.search(r"<h1>(.*?)</h1>", body).group(1)
    assert heading == "keeping learns from the last 10 of 12 steps, vanishing from the last 6."
    first = body.index('class="plot"')
    assert body.index("<h1>") < body.index("✗ vanishing</td>") < first
    cards = body[body.index('id="verdicts"') : body.index('id="gradient_map"')]
    assert cards.index("What stops it: The weights are below 1.") < cards.index("<li>Start from a weight of 1.</li>")


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
        "What shrinks it, added up on the way back",
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
    # Overview; two findings with a picture and bars each; maps, text, four pictures of both, and two of causes.
    assert len(documents) == 1 + 2 * 2 + 3 + 1 + 4 + 2
    for document in documents:
        json.loads(document, parse_constant=refuse)


def test_a_page_names_no_address(two):
    page = report.to_html(two)
    scripts = re.findall(r"<script>.*?</script>", page, re.DOTALL)
    for script in scripts:
        page = page.replace(script, "")
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
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


def test_every_link_within_the_page_arrives(everything, two):
    for page in (report.to_html({"": everything}), report.to_html(two)):
        targets = re.findall(r' id="([^"]*)"', page)
        assert len(targets) == len(set(targets))
        assert set(re.findall(r'href="#([^"]*)"', page)) <= set(targets)


def test_a_finding_has_its_picture_its_causes_and_its_numbers(linear):
    page = report.to_html({"": linear()})
    card = page[page.index('class="finding') : page.index('id="gradient_map"')]
    assert re.findall(r'data-name="([^"]*)"', card) == ["lag_profile", "finding_causes"]
    assert '<a href="#lag_profile" title="Lag profile">−7.62 nats</a>, limit 4.61 nats' in card
    picture, causes = (json.loads(found) for found in re.findall(r'json">(.*?)</script>', card, re.DOTALL))
    assert picture["data"][0]["name"] == "l0"
    assert [bar["y"] for bar in causes["data"]] == [["weights −7.62"], ["their sum −7.62"]]


def test_what_joins_on_the_way_belongs_to_the_sum_of_causes(linear):
    exam = linear()
    exam.causes("l0")["nats_by_lag"][2] = 0.25  # a layer above adds to the gradient at every step
    documents = re.findall(r'<script type="application/json">(.*?)</script>', report.to_html({"": exam}), re.DOTALL)
    bars = [bar["y"][0] for bar in json.loads(documents[1])["data"]]
    assert bars == ["weights −7.62", "entering +2.75", "their sum −4.87"]


def test_of_many_recurrences_the_verdicts_are_folded(stacked):
    page = report.to_html({"": stacked(*(0.9 for _ in range(12)))})
    cards = re.findall(r'<details class="card[^>]*>', page)
    assert len(cards) == 12 and not any(card.endswith(" open>") for card in cards)
    assert 'id="overview"' in page and page.count("<option") >= 12
    assert " open>" in re.findall(r'<details class="card[^>]*>', report.to_html({"": stacked(0.5, 0.9)}))[0]
