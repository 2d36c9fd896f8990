"""Sentences whose verb agrees with a noun at a chosen distance, and a user's sentence in their vocabulary."""

import random
from collections import Counter

import pytest
import torch

from throughtime.tasks.agreement import (
    BEINGS,
    END,
    NO_TARGET,
    NOUNS,
    SLOTS,
    VOCABULARY,
    agreeing_verb,
    batch,
    sentence,
)
from throughtime.tasks.vocabulary import UNKNOWN

PLURALS = {plural for _, plural in NOUNS}


def many(distance, count=300, seed=0):
    source = random.Random(seed)
    return [sentence(distance, source) for _ in range(count)]


@pytest.mark.parametrize("distance", [1, 2, 3, 4, 5, 8, 13, 28, 60])
def test_the_verb_agrees_with_the_head_noun_at_the_distance_asked_for(distance):
    for one in many(distance, 100):
        assert one.distance == distance
        assert one.words[one.head] in (PLURALS if one.plural else {singular for singular, _ in BEINGS})
        assert one.words[one.verb] == ("were" if one.plural else "was")
        assert one.words[-1] == END
        assert Counter(one.words)["was"] + Counter(one.words)["were"] == 1
        assert not set(one.words) - set(VOCABULARY.ids)


def test_both_numbers_are_equally_likely():
    plural = sum(one.plural for one in many(8, 2000))
    assert 900 < plural < 1100


def test_the_nearest_noun_says_nothing_about_the_verb():
    agreeing = [
        (nouns[-1] in PLURALS) == one.plural
        for one in many(12, 2000)
        if len(nouns := [word for word in one.words[: one.verb] if any(word in forms for forms in NOUNS)]) > 1
    ]
    assert 0.45 < sum(agreeing) / len(agreeing) < 0.55


def test_a_verb_in_between_agrees_with_its_own_subject():
    singular = set(SLOTS["sees"])
    plural = {verb.removesuffix("s") for verb in singular}
    beings = {word for forms in BEINGS for word in forms}
    seen = 0
    for one in many(12, 500):
        subject = None
        for word in one.words[: one.verb]:
            subject = word if word in beings or word in SLOTS["pronoun"] else subject
            if word in singular | plural:
                seen += 1
                assert (word in plural) == (subject in PLURALS or subject in SLOTS["pronoun"])
    assert seen > 100


@pytest.mark.parametrize("distance", [0, -1])
def test_no_distance_below_one(distance):
    with pytest.raises(ValueError, match=f"distance: expected at least 1, found {distance}"):
        sentence(distance, random.Random(0))
    with pytest.raises(ValueError, match="at least 1"):
        batch([3, distance], torch.Generator())


def test_a_batch_predicts_every_next_word():
    made = batch([1, 4, 9], torch.Generator().manual_seed(1))
    assert made.inputs.shape == made.targets.shape == made.mask.shape
    assert made.distance.tolist() == [1, 4, 9]
    for column in range(3):
        words = int(made.mask[:, column].sum())
        assert made.mask[:words, column].all()
        assert torch.equal(made.inputs[1:words, column], made.targets[: words - 1, column])
        assert made.targets[words - 1, column] == VOCABULARY.ids[END]
        assert (made.targets[words:, column] == NO_TARGET).all()
        verb = made.targets[made.verb_step[column], column]
        assert VOCABULARY.words[verb] == ("were" if made.plural[column] else "was")


def test_a_batch_is_the_same_for_the_same_seed():
    one, same, other = (batch([6] * 8, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(one.inputs, same.inputs)
    assert one.inputs.shape != other.inputs.shape or not torch.equal(one.inputs, other.inputs)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="distances: expected at least one"):
        batch([], torch.Generator())


def test_neither_the_head_noun_nor_a_target_is_shown_as_unknown():
    made = batch([5] * 200, torch.Generator().manual_seed(0), unknown=0.5)
    unknown = made.inputs == VOCABULARY.ids[UNKNOWN]
    assert 0.3 < unknown[0].float().mean() < 0.7
    assert not unknown[1].any()
    assert not (made.targets == VOCABULARY.ids[UNKNOWN]).any()


def test_a_sentence_is_read_whatever_its_case_and_punctuation():
    encoded = VOCABULARY.encode("  The CATS, i saw! ")
    assert encoded.words == ("The", "CATS", "i", "saw")
    assert [VOCABULARY.words[index] for index in encoded.ids] == ["the", "cats", "I", "saw"]
    assert encoded.unknown == ()
    assert encoded.ended
    assert not VOCABULARY.encode("the cats").ended


def test_unknown_words_are_named_once():
    encoded = VOCABULARY.encode("the wug saw a wug")
    assert encoded.unknown == ("wug", "a")
    assert [VOCABULARY.words[index] for index in encoded.ids] == ["the", UNKNOWN, "saw", UNKNOWN, UNKNOWN]


def test_no_command_reaches_the_terminal():
    assert VOCABULARY.encode("the\x1b[31m cats\x07\u202e").words == ("the", "[31m", "cats")


@pytest.mark.parametrize("empty", ["", "   ", "\n", " . ", "?!"])
def test_a_sentence_without_words_is_refused(empty):
    with pytest.raises(ValueError, match="sentence: expected at least one word"):
        VOCABULARY.encode(empty)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("the", "Cats", "near", "the", "house"), ("Cats", "were")),
        (("the", "cat"), ("cat", "was")),
        (("the", "wugs"), None),
    ],
)
def test_the_verb_agrees_with_the_first_known_noun(words, expected):
    assert agreeing_verb(words) == expected
