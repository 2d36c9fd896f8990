"""The four layers of the story as next-character models of one text: equal size, equal batches, then examined."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from throughtime import unroll
from throughtime.compare.next_token import NextToken, descend, loss_per_step
from throughtime.compare.threads import one_thread
from throughtime.examination import Examination
from throughtime.examine import examine
from throughtime.tasks import Corpus, corpus

NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "RNN": nn.RNN,
    "Gated": unroll.Gated,
    "GRU": nn.GRU,
    "LSTM": nn.LSTM,
}
HIDDEN, EMBEDDING = 128, 32

# Training: in so many steps all four reach about 1.5 nats per character on 465,000 characters of English.
STEPS = 500
WINDOW, BATCH = 96, 32  # characters, samples
LEARNING_RATE = 0.014  # the highest of one cycle (Smith, Topin 2017)
# Without it the gated layer's state, which nothing bounds, runs away. At 0.1 torch divides by 0 for 10 steps.
WARM_UP = 0.11  # of the steps
LARGEST_GRADIENT = 0.3  # the norm to which gradients are clipped

# Examination: longer than the window of the training, to see what lies behind it.
EXAMINED_STEPS, EXAMINED_BATCH = 160, 8
SCORED_BATCH = 64


@dataclass(frozen=True)
class Advance:
    """How far the work has come.

    Args:
        network: On which network.
        phase: "training" or "examining".
        done: Steps done.
        total: Steps in all.
        loss: In training, of the last batch, in nats per character.
    """

    network: str
    phase: str
    done: int
    total: int
    loss: float | None = None


OnAdvance = Callable[[Advance], None]


def next_character(
    text: str, steps: int = STEPS, seed: int = 0, on_progress: OnAdvance | None = None
) -> dict[str, Examination]:
    """Train every network of `NETWORKS` on a text and examine it on a stretch that was held out.

    Args:
        text: At least 5000 characters.
        steps: Training steps; 0 examines the networks as they are initialised.
        seed: Of the initial weights, the batches and what is held out.
        on_progress: Called after every step.

    Returns:
        By name of the network; each one's loss on the held-out text is in its notes.

    Raises:
        ValueError: The text is too short, or all of one character.
    """
    data = corpus(text, seed)
    report = on_progress or (lambda progress: None)
    with one_thread():
        return {name: _trained_and_examined(name, data, steps, seed, report) for name in NETWORKS}


def _trained_and_examined(name: str, data: Corpus, steps: int, seed: int, report: OnAdvance) -> Examination:
    model = trained(name, data, steps, seed, report)
    inputs, targets = data.windows(EXAMINED_STEPS, EXAMINED_BATCH, torch.Generator().manual_seed(seed), held_out=True)
    examination = examine(
        model,
        inputs,
        targets,
        loss=loss_per_step,
        seed=seed,
        tokens=data.characters(inputs[:, 0]),
        on_progress=lambda done, total, _: report(Advance(name, "examining", done, total)),
    )
    loss = held_out_loss(model, data, seed)
    note = f"{loss:.2f} nats per held-out character after {steps} steps of training."
    examination.notes = (*examination.notes, note)
    return examination


def trained(name: str, data: Corpus, steps: int, seed: int, report: OnAdvance) -> NextToken:
    """One of `NETWORKS`, trained on everything but what is held out."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NextToken(NETWORKS[name](EMBEDDING, HIDDEN), len(data.vocabulary))
    optimiser = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=max(steps, 1), pct_start=WARM_UP
    )
    batches = torch.Generator().manual_seed(seed)
    for done in range(1, steps + 1):
        inputs, targets = data.windows(WINDOW, BATCH, batches)
        loss = loss_per_step(model(inputs), targets).sum() / targets.numel()
        descend(loss, optimiser, schedule, LARGEST_GRADIENT)
        report(Advance(name, "training", done, steps, loss.item()))
    return model


@torch.no_grad()
def held_out_loss(model: nn.Module, data: Corpus, seed: int) -> float:
    """Nats per character on text that was not trained on."""
    inputs, targets = data.windows(EXAMINED_STEPS, SCORED_BATCH, torch.Generator().manual_seed(seed), held_out=True)
    return float(loss_per_step(model(inputs), targets).sum() / targets.numel())
