"""Number agreement by distance: who still knows, at the verb, which noun it belongs to?

Five layers of equal size as next-word models, trained on the same sentences in the same order. Measured: how often
the agreeing verb is the more probable one of "was" and "were", by the distance from the noun; and how far back the
gradient of the loss at that verb reaches.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from throughtime.compare.next_token import NextToken, loss_per_step
from throughtime.compare.next_word import HIDDEN, LONGEST
from throughtime.compare.next_word import STEPS as STEPS
from throughtime.compare.threads import one_thread
from throughtime.examine import examine
from throughtime.progress import Progress, untold
from throughtime.tasks.agreement import VERBS, VOCABULARY, Batch, batch

# Measurement, on sentences of its own.
DISTANCES = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, LONGEST)
SENTENCES = 400  # at each distance
EXAMINED = 64  # sentences
FRACTION = 0.99  # of the gradient, for the reach
CHANCE = 0.5


@dataclass(frozen=True)
class Accuracy:
    """How often the agreeing verb was preferred at one distance.

    Args:
        distance: Steps from the noun to the verb.
        correct: Sentences in which it was.
        sentences: Sentences in all.
    """

    distance: int
    correct: int
    sentences: int

    @property
    def rate(self) -> float:
        """From 0 to 1; 0.5 is chance."""
        return self.correct / self.sentences

    @property
    def interval(self) -> tuple[float, float]:
        """The binomial interval of 95 % (Wilson 1927), which stays within 0 and 1."""
        from scipy import stats  # slow to import, and needed here only

        found = stats.binomtest(self.correct, self.sentences).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class Contestant:
    """One network of the comparison.

    Args:
        name: Of its layer.
        parameters: How many numbers were trained.
        accuracies: By rising distance.
        reach: The BPTT window, in steps, that suffices for 99 % of the gradient of the loss at the verb, at the
            longest distance. The noun lies inside the window if it is at least that distance.
    """

    name: str
    parameters: int
    accuracies: tuple[Accuracy, ...]
    reach: int


@dataclass(frozen=True)
class Agreement:
    """The comparison.

    Args:
        contestants: In the order of `LAYERS`.
        steps: Training steps of each.
        hidden_size: H of each.
        longest: The longest distance trained on, and the one at which the reach is measured.
        seed: Of the weights and of all sentences.
    """

    contestants: tuple[Contestant, ...]
    steps: int
    hidden_size: int
    longest: int
    seed: int


def agreement(
    networks: Mapping[str, NextToken], steps: int, seed: int = 0, on_progress: Progress | None = None
) -> Agreement:
    """Accuracy by distance and reach of trained networks, on sentences that were not trained on.

    Args:
        networks: As `trained` returns them.
        steps: How long they were trained.
        seed: The one they were trained with.
        on_progress: Called with (networks done, all networks, "measuring").
    """
    report = on_progress or untold
    # Training draws from `seed` itself.
    generator = torch.Generator().manual_seed(seed + 2**40)
    held_out = {distance: batch([distance] * SENTENCES, generator) for distance in DISTANCES}
    examined = batch([LONGEST] * EXAMINED, generator)
    contestants = []
    with one_thread():
        for done, (name, network) in enumerate(networks.items(), start=1):
            accuracies = tuple(accuracy(network, sentences) for sentences in held_out.values())
            parameters = sum(parameter.numel() for parameter in network.parameters())
            contestants.append(Contestant(name, parameters, accuracies, reach(network, examined)))
            report(done, len(networks), "measuring")
    return Agreement(tuple(contestants), steps, HIDDEN, LONGEST, seed)


@torch.no_grad()
def accuracy(network: nn.Module, sentences: Batch) -> Accuracy:
    """How often the agreeing verb is the more probable one, in sentences of one distance."""
    at_verb = network(sentences.inputs)[sentences.verb_step, torch.arange(len(sentences.verb_step))]
    singular, plural = (at_verb[:, VOCABULARY.ids[verb]] for verb in VERBS)
    # A tie is not known, so not correct.
    correct = torch.where(sentences.plural, plural > singular, singular > plural)
    return Accuracy(int(sentences.distance[0]), int(correct.sum()), len(correct))


def reach(network: nn.Module, sentences: Batch) -> int:
    """The BPTT window, in steps, that suffices for 99 % of the gradient of the loss at the verb.

    Args:
        network: From words to the logits of the next word, such as `NextToken`.
        sentences: All of one distance, so that their verbs stand at the same step.
    """
    verb = int(sentences.verb_step[0]) + 1
    examination = examine(
        network, sentences.inputs[:verb], sentences.targets[:verb], loss=loss_per_step, loss_steps=[verb]
    )
    return next(iter(examination.reach(FRACTION).values()))
