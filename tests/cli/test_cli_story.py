"""`throughtime story`: on a sentence, in the terminal and as a page."""

import pytest


def test_a_sentence(run, folder) -> None:
    result = run("story", "the cats I saw", "--steps", "2", "--seed", "1", "--out", "story.html")
    assert result.exit_code == 0, result.output
    for part in ("RNN: 2 steps\n", "LSTM: 2 steps\n", "cats", "keep gate", "The same as a page: story.html"):
        assert part in result.stdout
    assert result.stderr == "" and "\x1b" not in result.stdout
    # A space that does not break is shown as it is.
    assert "\N{NO-BREAK SPACE}%" in result.stdout and "\N{REPLACEMENT CHARACTER}" not in result.stdout
    assert "<html" in (folder / "story.html").read_text()[:200]


@pytest.mark.parametrize(("columns", "cut"), [(79, True), (80, False)])
def test_a_terminal_that_is_too_narrow_is_told(run, monkeypatch, columns, cut) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    result = run("story", "the cats I saw", "--steps", "2")
    assert (f"the tables need 80 columns, this terminal has {columns}" in result.stdout) is cut


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["the cats", "--out", "nowhere/story.html"], "error: nowhere/story.html: there is no folder nowhere"),
        (["", "--steps", "1"], "error: "),
        (["the cats", "--steps", "0"], "--steps"),
    ],
)
def test_bad_input_is_refused_in_one_message(run, arguments, message) -> None:
    result = run("story", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr and "Traceback" not in result.output


def test_the_page_is_checked_before_the_work(run, folder) -> None:
    result = run("story", "the cats", "--out", str(folder))
    assert result.exit_code == 2 and result.stdout == ""
