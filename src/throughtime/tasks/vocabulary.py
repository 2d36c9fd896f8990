"""Words and their ids, and a user's sentence in them."""

from collections.abc import Sequence
from dataclasses import dataclass

# What a network reads in place of a word that it does not know.
UNKNOWN = "<unk>"
PUNCTUATION = ".,;:!?\"'“”‘’…"
END_MARKS = (".", "!", "?")


@dataclass(frozen=True)
class Encoded:
    """A user's sentence in the vocabulary.

    Args:
        words: As typed, without punctuation around them.
        ids: One per word, that of "<unk>" for an unknown one.
        unknown: The unknown words, each once, in the order of their first appearance.
        ended: Whether the sentence closed with an end mark, which is not among `words`.
    """

    words: tuple[str, ...]
    ids: tuple[int, ...]
    unknown: tuple[str, ...]
    ended: bool


class Vocabulary:
    """Words and their ids.

    Args:
        words: UNKNOWN and all others, in the order of their ids; a word that comes twice counts once.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(dict.fromkeys(words))
        self.ids = {word: index for index, word in enumerate(self.words)}
        self._by_lower_case = {word.lower(): index for word, index in self.ids.items()}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, sentence: str) -> Encoded:
        """A sentence as ids. Upper and lower case are the same, punctuation at the end of words is left out.

        Raises:
            ValueError: There is no word in it.
        """
        # A control character in a terminal is a command, not a letter.
        printable = "".join(letter if letter.isprintable() else " " for letter in sentence)
        words = tuple(word for typed in printable.split() if (word := typed.strip(PUNCTUATION)))
        if not words:
            raise ValueError(f"sentence: expected at least one word, found {sentence!r}")
        known = [self._by_lower_case.get(word.lower()) for word in words]
        unknown = dict.fromkeys(word for word, index in zip(words, known, strict=True) if index is None)
        ids = tuple(self.ids[UNKNOWN] if index is None else index for index in known)
        return Encoded(words, ids, tuple(unknown), ended=printable.rstrip().endswith(END_MARKS))
