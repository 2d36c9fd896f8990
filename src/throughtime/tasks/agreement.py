"""Number agreement: was it the cats I saw this morning that *was* or *were* very hungry?

Sentences of a small grammar in which the distance between the head noun and its verb can be chosen. The nouns between
them are singular or plural by a fair coin, and some have verbs of their own to agree with. So the last noun says
nothing about the verb, the number to remember is not the only one, and who does not remember it is right half of the
time.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from throughtime.tasks.vocabulary import UNKNOWN, Vocabulary

# Singular and plural: who may see and be hungry, and what may stand beside them.
BEINGS = (
    ("cat", "cats"),
    ("dog", "dogs"),
    ("girl", "girls"),
    ("boy", "boys"),
    ("author", "authors"),
    ("teacher", "teachers"),
    ("friend", "friends"),
    ("bird", "birds"),
    ("horse", "horses"),
)
THINGS = (("house", "houses"), ("garden", "gardens"), ("key", "keys"), ("tree", "trees"))
NOUNS = BEINGS + THINGS
VERBS = ("was", "were")
END = "."
# What the slots of the templates below are filled with. A template's "sees" agrees with its subject.
SLOTS = {
    "place": ("outside", "upstairs", "here"),
    "spot": ("over there", "right here"),
    "time": ("this morning", "last night"),
    "pronoun": ("I", "you", "we", "they"),
    "saw": ("saw", "heard", "knew", "liked"),
    "sees": ("sees", "hears", "knows", "likes"),
    "near": ("near", "behind", "beside"),
    "predicate": ("very hungry", "very tired", "very happy"),
}
# What may stand between a noun and its verb, by its length in words.
STACKABLE = {
    3: ("near the thing", "that pronoun saw", "that pronoun sees"),
    4: ("that the being saw", "that the being sees"),
    5: ("that pronoun saw time",),
    6: ("that the being saw time",),
    7: ("that the being near the thing saw", "that the being near the thing sees"),
    9: ("that the being near the thing saw time",),
}
# Without "that" a clause can be told from what precedes it only right after the noun.
FIRST_ONLY = {
    2: ("pronoun saw", "pronoun sees"),
    3: ("the being saw", "the being sees"),
    4: ("pronoun saw time",),
}
# The last one or two words, where a distance leaves no room for more.
CLOSING = {1: ("place",), 2: ("spot",)}
NOUN_SLOTS = {"being": BEINGS, "thing": THINGS}
NO_TARGET = -100  # torch's `ignore_index`


@dataclass(frozen=True)
class Sentence:
    """A sentence of the grammar.

    Args:
        words: All of its words, the verb and the end mark included.
        head: The position of the head noun in `words`.
        verb: The position of the verb that agrees with it.
        plural: The number of both.
    """

    words: tuple[str, ...]
    head: int
    verb: int
    plural: bool

    @property
    def distance(self) -> int:
        """Steps from the head noun to its verb; 1 if they are neighbours."""
        return self.verb - self.head


@dataclass(frozen=True)
class Batch:
    """Sentences as next-word prediction, padded to the longest.

    Args:
        inputs: Word ids; padding repeats the end mark.
        targets: The id of the next word, `NO_TARGET` at padding.
        mask: Where there is a target.
        verb_step: By sentence, the step (from 0) whose target is the agreeing verb.
        distance: By sentence, steps from the head noun to the verb.
        plural: By sentence, whether that verb is "were".
    """

    inputs: Int[Tensor, "time batch"]
    targets: Int[Tensor, "time batch"]
    mask: Bool[Tensor, "time batch"]
    verb_step: Int[Tensor, " batch"]
    distance: Int[Tensor, " batch"]
    plural: Bool[Tensor, " batch"]


def sentence(distance: int, source: random.Random) -> Sentence:
    """A sentence whose verb stands `distance` steps after its head noun, at least 1.

    Raises:
        ValueError: `distance` is below 1.
    """
    if distance < 1:
        raise ValueError(f"distance: expected at least 1, found {distance}")
    plural = source.random() < 0.5
    words = ["the", source.choice(BEINGS)[plural]]
    while (room := distance + 1 - len(words)) > 0:
        words += _fill(source.choice(_fitting(room, first=len(words) == 2)), source)
    verb = len(words)
    words += [VERBS[plural], *_fill("predicate", source), END]
    return Sentence(tuple(words), head=1, verb=verb, plural=plural)


def batch(distances: Sequence[int], generator: torch.Generator, unknown: float = 0.0) -> Batch:
    """Sentences with one given distance each.

    Args:
        distances: Steps between head noun and verb, at least 1, one per sentence.
        generator: The source of all randomness.
        unknown: Probability that a word other than the head noun and the verb is shown as "<unk>", so that a network
            knows what to make of it.

    Raises:
        ValueError: There is no distance, or one is below 1.
    """
    if not distances:
        raise ValueError("distances: expected at least one, found none")
    # One draw for the whole batch: a torch generator takes microseconds for every coin.
    source = random.Random(int(torch.randint(2**62, (), generator=generator)))
    sentences = [sentence(distance, source) for distance in distances]
    length = max(len(one.words) for one in sentences) - 1
    inputs = torch.full((length, len(sentences)), VOCABULARY.ids[END])
    targets = torch.full((length, len(sentences)), NO_TARGET)
    for column, one in enumerate(sentences):
        ids = torch.tensor([VOCABULARY.ids[word] for word in one.words])
        inputs[: len(ids) - 1, column], targets[: len(ids) - 1, column] = ids[:-1], ids[1:]
        for step in range(len(ids) - 1):
            if unknown and step not in (one.head, one.verb) and source.random() < unknown:
                inputs[step, column] = VOCABULARY.ids[UNKNOWN]
    return Batch(
        inputs,
        targets,
        targets != NO_TARGET,
        torch.tensor([one.verb - 1 for one in sentences]),
        torch.tensor([one.distance for one in sentences]),
        torch.tensor([one.plural for one in sentences]),
    )


def agreeing_verb(words: Sequence[str]) -> tuple[str, str] | None:
    """The first noun that the grammar knows and the verb that agrees with it; None if there is no such noun."""
    for word in words:
        for forms in NOUNS:
            if word.lower() in forms:
                return word, VERBS[forms.index(word.lower())]
    return None


def _fitting(room: int, first: bool) -> list[str]:
    """The templates of at most `room` words that may stand here."""
    tables = [STACKABLE] + [FIRST_ONLY] * first + [{room: CLOSING.get(room, ())}]
    return [template for table in tables for length, all_ in table.items() if length <= room for template in all_]


def _fill(template: str, source: random.Random) -> list[str]:
    words: list[str] = []
    plural = True  # as with every pronoun of ours, "I" included, whose verb has no -s
    for slot in template.split():
        if slot in NOUN_SLOTS:
            number = source.random() < 0.5
            plural = number if slot == "being" else plural
            words.append(source.choice(NOUN_SLOTS[slot])[number])
        else:
            filling = source.choice(SLOTS.get(slot, (slot,)))
            words += [filling.removesuffix("s")] if slot == "sees" and plural else filling.split()
    return words


_PLURAL_VERBS = tuple(verb.removesuffix("s") for verb in SLOTS["sees"])
_SLOT_WORDS = (word for choices in SLOTS.values() for phrase in choices for word in phrase.split())
VOCABULARY = Vocabulary(
    (UNKNOWN, END, *VERBS, "the", "that", *_SLOT_WORDS, *_PLURAL_VERBS, *(word for forms in NOUNS for word in forms))
)
