"""From a sentence to its story."""

import torch

from throughtime.cells import equations, path_formulas
from throughtime.compare.agreement import agreement
from throughtime.compare.next_token import NextToken
from throughtime.compare.next_word import STEPS, trained, untrained
from throughtime.compare.threads import one_thread
from throughtime.progress import Progress
from throughtime.story.chain import chain
from throughtime.story.numbers import Chain, Story
from throughtime.tasks.agreement import END, VERBS, VOCABULARY, agreeing_verb
from throughtime.tasks.vocabulary import Encoded


def tell(sentence: str, seed: int = 0, steps: int = STEPS, on_progress: Progress | None = None) -> Story:
    """The chain rule through time, term by term, on a sentence.

    Five networks are trained to agree a verb with its noun; a tanh network and the gated layer then read the sentence,
    and the loss of its last word is followed back to the first.

    Args:
        sentence: At least one word.
        seed: Of the weights and of all sentences.
        steps: Training steps of each network, at least 1.
        on_progress: Called with (how much is done, how much there is, what is being done).

    Raises:
        ValueError: There is no word in the sentence, or `steps` is below 1.
    """
    encoded = VOCABULARY.encode(sentence)
    if steps < 1:
        raise ValueError(f"steps: expected at least 1, found {steps}")
    networks = trained(steps, seed, on_progress)
    comparison = agreement(networks, steps, seed, on_progress)
    target, reason = expected_next(encoded)

    def follow(network: NextToken) -> Chain:
        shown = {word: VOCABULARY.ids[word] for word in (*VERBS, END)}
        return chain(network.double(), torch.tensor(encoded.ids), VOCABULARY.ids[target], shown)

    cells = {name: networks[name].recurrence.cell for name in ("RNN", "Gated")}
    with one_thread():
        return Story(
            words=encoded.words,
            unknown=encoded.unknown,
            target=target,
            reason=reason,
            untrained=follow(untrained("RNN", seed)),
            rnn=follow(networks["RNN"]),
            gated=follow(networks["Gated"]),
            equations={name: tuple(equations(cell)) for name, cell in cells.items()},
            path_formulas={name: path_formulas(cell) for name, cell in cells.items()},
            agreement=comparison,
        )


def expected_next(encoded: Encoded) -> tuple[str, str]:
    """The word that the last loss expects, and why that one."""
    agreeing = agreeing_verb(encoded.words)
    if encoded.ended:
        return END, "the end mark you typed"
    if any(word.lower() in VERBS for word in encoded.words):
        return END, "the end mark, for the sentence has its verb"
    if agreeing is None:
        return END, "the end mark, for there is no noun in it that the networks know"
    noun, verb = agreeing
    return verb, f"the verb that agrees with “{noun}”"
