"""Five layers of equal size as next-word models, trained on the same sentences in the same order."""

from collections.abc import Callable

import torch

from throughtime import unroll
from throughtime.compare.next_token import NextToken, descend, loss_per_step
from throughtime.compare.threads import one_thread
from throughtime.progress import Progress, untold
from throughtime.tasks.agreement import VOCABULARY, Batch, batch

HIDDEN, EMBEDDING = 64, 32

# Training. A distance is drawn evenly from 1 .. LONGEST for every sentence. Four times the steps do not change the
# tanh network's result; many more short distances do (even over their logarithm: all verbs right, at all distances).
# It can hold the noun's number; where short sentences do not lead it there, the gradient from far back does not either.
STEPS, BATCH = 1000, 32  # sentences
LONGEST = 28  # steps from noun to verb
LEARNING_RATE = 0.015  # constant for the first half of the steps, then falling to 0 along a line
LARGEST_GRADIENT = 1.0  # the norm to which gradients are clipped
SHOWN_AS_UNKNOWN = 0.02  # probability

LAYERS: dict[str, Callable[[], unroll.Recurrent]] = {
    "RNN": lambda: unroll.RNN(EMBEDDING, HIDDEN),
    "RNN with ReLU": lambda: unroll.RNN(EMBEDDING, HIDDEN, nonlinearity="relu"),
    "Gated": lambda: unroll.Gated(EMBEDDING, HIDDEN),
    "GRU": lambda: unroll.GRU(EMBEDDING, HIDDEN),
    "LSTM": lambda: unroll.LSTM(EMBEDDING, HIDDEN),
}


def trained(steps: int = STEPS, seed: int = 0, on_progress: Progress | None = None) -> dict[str, NextToken]:
    """All networks of `LAYERS`, trained on the same batches.

    Args:
        steps: Training steps of each network.
        seed: Of the weights and the sentences.
        on_progress: Called with (steps done, all its steps, the network's name).
    """
    generator = torch.Generator().manual_seed(seed)
    batches = [
        batch(torch.randint(1, LONGEST + 1, (BATCH,), generator=generator).tolist(), generator, SHOWN_AS_UNKNOWN)
        for _ in range(steps)
    ]
    with one_thread():
        return {name: _train(untrained(name, seed), name, batches, on_progress or untold) for name in LAYERS}


def untrained(name: str, seed: int = 0) -> NextToken:
    """The network of `LAYERS` as it is before training, with torch's initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NextToken(LAYERS[name](), len(VOCABULARY))


def _train(network: NextToken, name: str, batches: list[Batch], report: Progress) -> NextToken:
    optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: min(1.0, 2 - 2 * done / len(batches)))
    for done, sentences in enumerate(batches, start=1):
        loss = loss_per_step(network(sentences.inputs), sentences.targets).sum() / sentences.mask.sum()
        descend(loss, optimiser, schedule, LARGEST_GRADIENT)
        report(done, len(batches), name)
    return network
