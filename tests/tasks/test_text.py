"""Text as data: windows and their targets, what is held out, and what is said about a file that is no text."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from throughtime.tasks import corpus, python_documentation, read_text
from throughtime.tasks.text import FEWEST_CHARACTERS, MOST_CHARACTERS, REPLACEMENT

TEXT = "the cats I saw this morning were very hungry.\n" * 200


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "text.txt"
        path.write_bytes(content)
        return path

    return write


def test_python_brings_real_english_text() -> None:
    text = python_documentation()
    assert len(text) > 300_000
    assert text.count(" the ") > 2_000
    assert len(corpus(text).vocabulary) < 150


def test_codes_are_the_text() -> None:
    data = corpus(TEXT)
    assert data.vocabulary == tuple(sorted(set(TEXT)))
    assert "".join(data.characters(data.codes)) == TEXT


@pytest.mark.parametrize("held_out", [False, True])
def test_targets_are_the_next_characters(held_out: bool) -> None:
    data = corpus(TEXT)
    inputs, targets = data.windows(20, 7, generator(), held_out)
    assert inputs.shape == targets.shape == (20, 7)
    assert torch.equal(inputs[1:], targets[:-1])
    for column in range(7):
        window = torch.cat([inputs[:, column], targets[-1:, column]])
        assert "".join(data.characters(window)) in TEXT


def test_windows_follow_the_seed() -> None:
    data = corpus(TEXT)
    first, again, other = (data.windows(20, 7, generator(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_nothing_held_out_is_trained_on() -> None:
    """Every place of the text is its own character here, so a window shows where it was taken."""
    text = "".join(chr(0x4E00 + place % 250) * 25 for place in range(250))
    data = corpus(text, seed=3)
    begin, end = data.held_out
    assert end - begin == len(text) // 10
    inside = set(data.codes[begin + 25 : end - 25].tolist())
    trained = {code for seed in range(20) for code in data.windows(30, 50, generator(seed))[1].flatten().tolist()}
    tested = set(data.windows(30, 500, generator(), held_out=True)[1].flatten().tolist())
    assert inside and inside <= tested
    assert not inside & trained


def test_every_window_of_the_shortest_stretch_is_drawn() -> None:
    data = corpus("ab" * 2500)
    begin, end = data.held_out
    assert data.windows(end - begin - 1, 1, generator(), held_out=True)[0].shape == (end - begin - 1, 1)
    with pytest.raises(ValueError, match="the held-out stretch has 500 characters in a row, a window needs 501"):
        data.windows(end - begin, 1, generator(), held_out=True)


def test_the_seed_decides_what_is_held_out() -> None:
    assert corpus(TEXT, seed=0).held_out == corpus(TEXT, seed=0).held_out != corpus(TEXT, seed=1).held_out


def test_rare_characters_of_a_large_alphabet_are_replaced() -> None:
    text = "".join(chr(0x4E00 + place) for place in range(1000)) * 3 + "a" * 3000
    data = corpus(text)
    assert len(data.vocabulary) == MOST_CHARACTERS + 1
    assert REPLACEMENT in data.vocabulary and "a" in data.vocabulary
    assert data.characters(data.codes)[-1] == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("short", f"text: expected at least {FEWEST_CHARACTERS} characters, found 5"),
        ("a" * FEWEST_CHARACTERS, "text: every character is 'a', so there is nothing to predict"),
    ],
)
def test_a_text_that_teaches_nothing(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        corpus(text)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_reads_utf8_with_any_mark_and_line_ends(written: Callable, mark: bytes, line_end: str) -> None:
    content = "Grüße, “naïve” 🐈\n" * 400
    assert read_text(written(mark + content.replace("\n", line_end).encode())) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found nothing: the file is empty; give a text of at least 5000 characters"),
        (b" \n\t" * 4000, "found only white space; give a text of at least 5000 characters"),
        (b"hello", "found 5 characters; give a text of at least 5000"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 9000, "found the control byte 0x1a at offset 6, so this is no text"),
        (b"text " * 1000 + b"\x00", "found the control byte 0x00 at offset 5000"),
        (b"caf\xe9 " * 2000, "found the byte 0xe9 at offset 3, which is not UTF-8; if it is Latin-1: iconv"),
        ("text".encode("utf-16"), "found UTF-16; convert it: iconv -f UTF-16 -t UTF-8"),
    ],
)
def test_a_file_that_is_no_text(written: Callable, content: bytes, message: str) -> None:
    path = written(content)
    with pytest.raises(ValueError) as error:
        read_text(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt: no such file; give the path of a plain text file$"):
        read_text(tmp_path / "nothing.txt")
    with pytest.raises(IsADirectoryError, match=r"a folder; give the name of a text file in it$"):
        read_text(tmp_path)


def test_a_file_that_may_not_be_read(written: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(TEXT.encode())

    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    # In place of the system's own refusal, for the tests may run as a user who may read everything.
    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(
        PermissionError, match=r"text\.txt: cannot be read \(Permission denied\); check its permissions"
    ):
        read_text(path)
