"""Stories of networks that have hardly been trained."""

import pytest

from throughtime import story
from throughtime.compare import agreement as by_distance

LONG = "the cats that the girl near <script>alert(1)</script> & houses saw this morning"


@pytest.fixture(scope="session")
def tell():
    """story.tell with one step of training and few sentences to measure on."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(by_distance, "SENTENCES", 10)
        patched.setattr(by_distance, "EXAMINED", 2)
        yield lambda sentence, **keywords: story.tell(sentence, **{"steps": 1, **keywords})


@pytest.fixture(scope="session")
def four_words(tell):
    return tell("the cats I saw")


@pytest.fixture(scope="session")
def one_word(tell):
    return tell("cats")


@pytest.fixture(scope="session")
def many_words(tell):
    return tell(" ".join([LONG] * 10))
