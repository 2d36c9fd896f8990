"""What a network without memory reaches on the usual tasks: the numbers that learning starts below."""

import math
from collections.abc import Iterator

import torch
from torch.nn import functional

from reproduce.claim import Claim, Found
from throughtime.tasks import adding, copying

STEPS, SAMPLES, CLASSES = 100, 100_000, 10
# In standard errors.
CLOSE = 4.0


def check() -> str:
    """The sums are those of the marked numbers, and the symbols come back."""
    generator = torch.Generator().manual_seed(1)
    inputs, targets = adding.adding(STEPS, 50, generator)
    for sample, target in zip(inputs.unbind(1), targets.tolist(), strict=True):
        marked = [number for number, mark in sample.tolist() if mark]
        if len(marked) != 2 or abs(sum(marked) - target) > 1e-6:
            return f"the adding task asks for {target} where {marked} are marked"
    shown, asked = copying.copying(STEPS, 50, generator)
    return "" if torch.equal(shown[:10], asked[-10:]) else "the copy task asks for other symbols than it shows"


def numbers() -> Iterator[Found]:
    """The best answer that rests on nothing but the last input, or on the time alone, fitted to half of the data."""
    generator = torch.Generator().manual_seed(0)
    inputs, sums = adding.adding(STEPS, SAMPLES, generator)
    last = torch.cat([inputs[-1], torch.ones(SAMPLES, 1)], dim=-1).double()
    fitted, held_out = slice(0, SAMPLES // 2), slice(SAMPLES // 2, SAMPLES)
    # What is marked in the last step is known there; few samples have it, and they are left out.
    unmarked = inputs[-1, :, 1] == 0
    answer = torch.linalg.lstsq(last[fitted], sums[fitted, None].double()).solution
    errors = (last[held_out] @ answer - sums[held_out, None]).square()[unmarked[held_out]]
    yield _near("adding task, no memory: mean squared error", 1 / 6, errors.flatten())

    _, asked = copying.copying(STEPS, SAMPLES // 10, generator)
    half = SAMPLES // 20
    counts = functional.one_hot(asked[:, :half], copying.SYMBOLS + 1).double().sum(1)
    losses = -(counts / half).log().gather(1, asked[:, half:]).mean(0)
    yield _near(f"copy task, T = {STEPS}, no memory: nats a step", 10 * math.log(8) / (STEPS + 20), losses)

    labels = torch.randint(CLASSES, (SAMPLES,), generator=generator)
    frequencies = (torch.bincount(labels[fitted], minlength=CLASSES) / (SAMPLES // 2)).double().log()
    yield _near(f"{CLASSES} classes, nothing known: nats", math.log(CLASSES), -frequencies[labels[held_out]])


def _near(claim: str, published: float, losses: torch.Tensor) -> Found:
    mean = losses.mean().item()
    # Frequencies that are counted are off themselves, by as much again.
    error = max(losses.std().item() / len(losses) ** 0.5, 1e-4)
    return Found(claim, f"{published:.4f}", f"{mean:.4f} ± {error:.4f}", abs(mean - published) < CLOSE * error)


BASELINES = Claim(17, "baselines", "Arjovsky, Shah, Bengio 2016; Le, Jaitly, Hinton 2015", check, numbers)
