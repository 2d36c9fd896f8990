"""Next-character prediction on real text: Python's own documentation, or a file of the user's."""

import os
import re
from collections import Counter
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

# Characters beyond the most frequent ones are read as the replacement: a readout over thousands of characters would
# take most of the training time and teach nothing about memory. English with its punctuation needs about 100.
MOST_CHARACTERS = 255
REPLACEMENT = "\ufffd"

# The least a text can be trained and examined on: some tens of windows, a tenth of them held out.
FEWEST_CHARACTERS = 5000

# Share of the text that is never trained on.
HELD_OUT = 0.1

# Bytes that stand in no text: control characters except those that `file` (1) counts as text (BEL .. CR, ESC).
_BINARY = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
_OTHER_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


@dataclass(frozen=True)
class Corpus:
    """A text as numbers, with one stretch of it held out.

    Args:
        vocabulary: The characters that are told apart, by their code.
        codes: The text.
        held_out: Where the stretch that is never trained on begins and ends.
    """

    vocabulary: tuple[str, ...]
    codes: Int64[Tensor, " length"]
    held_out: tuple[int, int]

    def windows(
        self, steps: int, batch: int, generator: torch.Generator, held_out: bool = False
    ) -> tuple[Int64[Tensor, "time batch"], Int64[Tensor, "time batch"]]:
        """Random windows of the text, and the character that follows each of theirs.

        Args:
            steps: Length of a window.
            batch: How many.
            generator: Draws their places.
            held_out: Whether they come from the held-out stretch, else from the rest. None ever straddles the border.

        Raises:
            ValueError: The text is too short for a window of that length.
        """
        begin, end = self.held_out
        stretches = [(begin, end)] if held_out else [(0, begin), (end, len(self.codes))]
        starts = torch.cat([torch.arange(first, max(first, last - steps)) for first, last in stretches])
        if len(starts) == 0:
            part = "held-out stretch" if held_out else "text"
            longest = max(last - first for first, last in stretches)
            raise ValueError(f"text: the {part} has {longest} characters in a row, a window needs {steps + 1}")
        chosen = starts[torch.randint(len(starts), (batch,), generator=generator)]
        window = self.codes[chosen + torch.arange(steps + 1).unsqueeze(1)]
        return window[:-1], window[1:]

    def characters(self, codes: Int64[Tensor, " time"]) -> tuple[str, ...]:
        """The characters that codes stand for."""
        return tuple(self.vocabulary[code] for code in codes.tolist())


def corpus(text: str, seed: int = 0) -> Corpus:
    """A text made ready for training: its vocabulary, its codes, and a held-out stretch at a random place.

    Args:
        text: At least `FEWEST_CHARACTERS` characters.
        seed: Decides which tenth is held out.

    Raises:
        ValueError: The text is too short, or all of one character.
    """
    if len(text) < FEWEST_CHARACTERS:
        raise ValueError(f"text: expected at least {FEWEST_CHARACTERS} characters, found {len(text)}")
    vocabulary = _vocabulary(text)
    if len(vocabulary) == 1:
        raise ValueError(f"text: every character is {text[0]!r}, so there is nothing to predict")
    code = {character: index for index, character in enumerate(vocabulary)}
    codes = torch.tensor([code[c] if c in code else code[REPLACEMENT] for c in text])
    length = int(HELD_OUT * len(text))
    begin = int(torch.randint(len(text) - length + 1, (), generator=torch.Generator().manual_seed(seed)))
    return Corpus(vocabulary, codes, (begin, begin + length))


def _vocabulary(text: str) -> tuple[str, ...]:
    counts = Counter(text)
    frequent = {character for character, _ in counts.most_common(MOST_CHARACTERS)}
    return tuple(sorted(frequent | ({REPLACEMENT} if len(counts) > MOST_CHARACTERS else set())))


def python_documentation() -> str:
    """About 465,000 characters of English that every Python carries: its own help on the language, no download.

    Raises:
        FileNotFoundError: This Python was installed without `pydoc_data`.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise FileNotFoundError(
            "this Python comes without its documentation (pydoc_data); give a text file of your own instead"
        ) from None
    return "\n\n".join(topics.values())


def read_text(path: str | os.PathLike[str]) -> str:
    """A plain text file in UTF-8, with or without a byte order mark; all line ends become \\n.

    Raises:
        OSError: There is no such file, or it cannot be read.
        ValueError: It is empty, too short, binary, or not in UTF-8; the message says what was found and what to do.
    """
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except IsADirectoryError:
        raise IsADirectoryError(f"{name}: a folder; give the name of a text file in it") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}: no such file; give the path of a plain text file") from None
    except OSError as error:
        raise type(error)(f"{name}: cannot be read ({error.strerror}); check its permissions") from None
    text = _decoded(name, content).replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        found = "only white space" if text else "nothing: the file is empty"
        raise ValueError(f"{name}: found {found}; give a text of at least {FEWEST_CHARACTERS} characters")
    if len(text) < FEWEST_CHARACTERS:
        raise ValueError(f"{name}: found {len(text)} characters; give a text of at least {FEWEST_CHARACTERS}")
    return text


def _decoded(name: str, content: bytes) -> str:
    if encoding := _OTHER_ENCODINGS.get(content[:2]):
        raise ValueError(f"{name}: found {encoding}; convert it: iconv -f {encoding} -t UTF-8 {name} > text.txt")
    if binary := _BINARY.search(content):
        byte = f"0x{content[binary.start()]:02x} at offset {binary.start()}"
        raise ValueError(f"{name}: found the control byte {byte}, so this is no text; give a plain text file in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"0x{content[error.start]:02x} at offset {error.start}"
        raise ValueError(
            f"{name}: found the byte {byte}, which is not UTF-8; if it is Latin-1: "
            f"iconv -f LATIN1 -t UTF-8 {name} > text.txt"
        ) from None
