"""From a sentence to its story: which word is expected, what is unknown, what is refused."""

import pytest

from throughtime import story
from throughtime.compare.next_word import LAYERS
from throughtime.story.telling import expected_next
from throughtime.tasks.agreement import VOCABULARY


@pytest.mark.parametrize(
    ("sentence", "word", "reason"),
    [
        ("the cats I saw", "were", "“cats”"),
        ("The cat near the houses", "was", "“cat”"),
        ("the cats I saw were very hungry", ".", "has its verb"),
        ("the cats I saw.", ".", "you typed"),
        ("nobody knows", ".", "no noun"),
    ],
)
def test_what_the_last_loss_expects(sentence, word, reason):
    expected, why = expected_next(VOCABULARY.encode(sentence))
    assert expected == word
    assert reason in why


def test_a_story_of_four_words(four_words):
    assert four_words.words == ("the", "cats", "I", "saw")
    assert four_words.target == "were"
    assert four_words.unknown == ()
    for chain in (four_words.untrained, four_words.rnn, four_words.gated):
        assert [term.step for term in chain.terms] == [4, 3, 2, 1]
        assert [jacobian.step for jacobian in chain.jacobians] == [4, 3, 2]
        assert all(gradient.relative_error < 1e-12 for gradient in chain.gradients.values())
    assert [contestant.name for contestant in four_words.agreement.contestants] == list(LAYERS)


def test_the_formulas_come_from_the_cells(four_words):
    assert r"\tanh" in four_words.equations["RNN"][0]
    assert list(four_words.path_formulas["Gated"]) == ["carry", "keep gate", "candidate", "write gate"]


def test_many_words_and_unknown_ones(many_words):
    assert len(many_words.words) == 120
    assert many_words.unknown == ("<script>alert(1)</script>", "&")
    assert len(many_words.gated.terms) == 120


def test_one_word(one_word):
    assert one_word.target == "were"
    assert one_word.rnn.jacobians == ()


def test_the_same_seed_tells_the_same(tell, four_words):
    assert tell("the cats I saw") == four_words
    assert tell("the cats I saw", seed=1) != four_words


def test_progress_is_told(tell):
    calls = []
    tell("the cats", on_progress=lambda *call: calls.append(call))
    assert calls[0] == (1, 1, "RNN")
    assert calls[-1] == (5, 5, "measuring")


@pytest.mark.parametrize("empty", ["", "  ", "..."])
def test_an_empty_sentence_is_refused(empty):
    with pytest.raises(ValueError, match="at least one word"):
        story.tell(empty)


def test_training_takes_a_step():
    with pytest.raises(ValueError, match="steps: expected at least 1, found 0"):
        story.tell("the cats", steps=0)
