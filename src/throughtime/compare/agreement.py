"""Number agreement by distance: who still knows, at the verb, which noun it belongs to?

Five layers of equal size as next-word models, trained on the same sentences in the same order. Measured: how often
the agreeing verb is the more probable one of "was" and "were", by the distance from the noun; and how far back the
gradient of the loss at that verb reaches.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from throughtime import unroll
from throughtime.compare.threads import one_thread
from throughtime.examine import examine
from throughtime.tasks.agreement import NO_TARGET, VERBS, VOCABULARY, Batch, batch

LAYERS: dict[str, Callable[[], unroll.Recurrent]] = {
    "RNN": lambda: unroll.RNN(EMBEDDING, HIDDEN),
    "RNN with ReLU": lambda: unroll.RNN(EMBEDDING, HIDDEN, nonlinearity="relu"),
    "Gated": lambda: unroll.Gated(EMBEDDING, HIDDEN),
    "GRU": lambda: unroll.GRU(EMBEDDING, HIDDEN),
    "LSTM": lambda: unroll.LSTM(EMBEDDING, HIDDEN),
}
HIDDEN, EMBEDDING = 64, 32

# Training. A distance is drawn evenly from 1 .. LONGEST for every sentence. With many more short distances, or many
# more steps, the tanh network learns to hold this one bit as well: what is compared is how easily it is learned.
STEPS, BATCH = 1000, 32  # sentences
LONGEST = 28  # steps from noun to verb
LEARNING_RATE = 0.015  # constant for the first half of the steps, then falling to 0 along a line
LARGEST_GRADIENT = 1.0  # the norm to which gradients are clipped
SHOWN_AS_UNKNOWN = 0.02  # probability

# Measurement, on sentences of its own.
DISTANCES = (1, 2, 3, 4, 6, 8, 12, 16, 20, 24, LONGEST)
SENTENCES = 400  # at each distance
EXAMINED = 64  # sentences
FRACTION = 0.99  # of the gradient, for the reach
CHANCE = 0.5
NORMAL_QUANTILE = 1.959964  # of an interval of 95 %

OnStep = Callable[[str, int, int], None]


class NextWord(nn.Module):
    """x_t = embedding of word t, a recurrence, y_t = softmax(W_oh h_t + b_h): the probabilities of the next word.

    `forward` gives the logits, `readout` makes them from the hidden states.
    """

    def __init__(self, layer: unroll.Recurrent) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(VOCABULARY), layer.input_size)
        self.recurrence = layer
        self.readout = nn.Linear(layer.hidden_size, len(VOCABULARY))

    def forward(self, words: Int[Tensor, "time batch"]) -> Float[Tensor, "time batch words"]:
        """The logits of every next word."""
        return self.readout(self.recurrence(self.embedding(words))[0])


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
        n, z = self.sentences, NORMAL_QUANTILE
        centre = self.rate + z**2 / (2 * n)
        width = z * math.sqrt(self.rate * (1 - self.rate) / n + z**2 / (4 * n**2))
        # At 0 and at 1 the interval ends there exactly; the formula misses it by rounding.
        low = 0.0 if self.correct == 0 else (centre - width) / (1 + z**2 / n)
        return low, 1.0 if self.correct == n else (centre + width) / (1 + z**2 / n)


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


def trained(steps: int = STEPS, seed: int = 0, on_step: OnStep | None = None) -> dict[str, NextWord]:
    """All networks of `LAYERS`, trained on the same batches.

    Args:
        steps: Training steps of each network.
        seed: Of the weights and the sentences.
        on_step: Called with the network's name, the steps done and all its steps.
    """
    generator = torch.Generator().manual_seed(seed)
    batches = [
        batch(torch.randint(1, LONGEST + 1, (BATCH,), generator=generator).tolist(), generator, SHOWN_AS_UNKNOWN)
        for _ in range(steps)
    ]
    with one_thread():
        return {name: _train(untrained(name, seed), name, batches, on_step or _ignore) for name in LAYERS}


def untrained(name: str, seed: int = 0) -> NextWord:
    """The network of `LAYERS` as it is before training, with torch's initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NextWord(LAYERS[name]())


def agreement(networks: Mapping[str, NextWord], steps: int, seed: int = 0, on_step: OnStep | None = None) -> Agreement:
    """Accuracy by distance and reach of trained networks, on sentences that were not trained on.

    Args:
        networks: As `trained` returns them.
        steps: How long they were trained.
        seed: The one they were trained with.
        on_step: Called after every network.
    """
    report = on_step or _ignore
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
            report("measuring", done, len(networks))
    return Agreement(tuple(contestants), steps, HIDDEN, LONGEST, seed)


@torch.no_grad()
def accuracy(network: NextWord, sentences: Batch) -> Accuracy:
    """How often the agreeing verb is the more probable one, in sentences of one distance."""
    at_verb = network(sentences.inputs)[sentences.verb_step, torch.arange(len(sentences.verb_step))]
    singular, plural = (at_verb[:, VOCABULARY.ids[verb]] for verb in VERBS)
    # A tie is not known, so not correct.
    correct = torch.where(sentences.plural, plural > singular, singular > plural)
    return Accuracy(int(sentences.distance[0]), int(correct.sum()), len(correct))


def reach(network: NextWord, sentences: Batch) -> int:
    """The BPTT window, in steps, that suffices for 99 % of the gradient of the loss at the verb.

    Args:
        network: A trained network.
        sentences: All of one distance, so that their verbs stand at the same step.
    """
    verb = int(sentences.verb_step[0]) + 1
    examination = examine(
        network, sentences.inputs[:verb], sentences.targets[:verb], loss=loss_per_step, loss_steps=[verb]
    )
    return next(iter(examination.reach(FRACTION).values()))


def loss_per_step(
    logits: Float[Tensor, "time batch words"], targets: Int[Tensor, "time batch"]
) -> Float[Tensor, " time"]:
    """Cross-entropy in nats of the next word at every step, summed over the batch; padding counts nothing."""
    losses = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET, reduction="none")
    return losses.view_as(targets).sum(1)


def _train(network: NextWord, name: str, batches: list[Batch], report: OnStep) -> NextWord:
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: min(1.0, 2 - 2 * done / len(batches)))
    for done, sentences in enumerate(batches, start=1):
        loss = loss_per_step(network(sentences.inputs), sentences.targets).sum() / sentences.mask.sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        report(name, done, len(batches))
    return network


def _ignore(name: str, done: int, total: int) -> None:
    """No progress is wanted."""
