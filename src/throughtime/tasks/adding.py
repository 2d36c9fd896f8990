"""The adding problem: two of many numbers are marked, and their sum is asked for at the end."""

import torch
from jaxtyping import Float
from torch import Tensor

# The mean squared error of whoever always answers 1: the variance of the sum of two numbers from U[0, 1].
BASELINE = 1 / 6


def adding(
    steps: int, batch: int, generator: torch.Generator
) -> tuple[Float[Tensor, "time batch 2"], Float[Tensor, " batch"]]:
    """Numbers from U[0, 1] beside marks, one in each half of the sequence, and the sum of the two that are marked.

    Hochreiter and Schmidhuber 1997, section 5.4, in the form of Le, Jaitly and Hinton 2015 (arXiv:1504.00941), section
    4.1: the numbers of 1997 are from U[-1, 1], so that the baseline there, with a sum scaled by 1/4, is another one.

    Args:
        steps: T.
        batch: Samples.
        generator: Of everything that is drawn.

    Raises:
        ValueError: There are fewer than two steps.
    """
    if steps < 2:
        raise ValueError(f"steps: expected at least 2, found {steps}")
    numbers = torch.rand(steps, batch, generator=generator)
    half = steps // 2
    first = torch.randint(half, (batch,), generator=generator)
    second = torch.randint(half, steps, (batch,), generator=generator)
    marks = torch.zeros(steps, batch)
    marks[first, torch.arange(batch)] = 1
    marks[second, torch.arange(batch)] = 1
    return torch.stack([numbers, marks], dim=-1), (numbers * marks).sum(0)
