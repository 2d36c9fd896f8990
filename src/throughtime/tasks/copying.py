"""The copy problem: ten symbols are shown, and asked for again after a wait."""

import math

import torch
from jaxtyping import Int
from torch import Tensor

SYMBOLS, LENGTH = 8, 10
# Two more inputs: nothing, and the sign to begin.
BLANK, BEGIN = SYMBOLS, SYMBOLS + 1


def copying(
    wait: int, batch: int, generator: torch.Generator
) -> tuple[Int[Tensor, "time batch"], Int[Tensor, "time batch"]]:
    """Ten symbols, a wait, a sign to begin and ten blanks; blanks are asked for until then, and then the symbols.

    Arjovsky, Shah and Bengio 2016 (arXiv:1511.06464), section 5.1. All together wait + 20 steps.

    Args:
        wait: Steps between the last symbol and the first that is asked for: the paper's T.
        batch: Samples.
        generator: Of the symbols.

    Raises:
        ValueError: There is no step for the sign to begin.
    """
    if wait < 1:
        raise ValueError(f"wait: expected at least 1 step, found {wait}")
    symbols = torch.randint(SYMBOLS, (LENGTH, batch), generator=generator)
    inputs = torch.full((wait + 2 * LENGTH, batch), BLANK)
    inputs[:LENGTH] = symbols
    inputs[LENGTH + wait - 1] = BEGIN
    targets = torch.full_like(inputs, BLANK)
    targets[-LENGTH:] = symbols
    return inputs, targets


def baseline(wait: int) -> float:
    """The mean cross-entropy of whoever knows the time and remembers nothing, in nats a step: 10 ln 8 / (T + 20)."""
    return LENGTH * math.log(SYMBOLS) / (wait + 2 * LENGTH)
