"""Pre-activations that are made again wherever they are looked at: of a sequence along which they do not fit in memory.

What steps start from is known, so that the pre-activations of any of them are two matrix products away: of a long
sequence, the states are all that needs to be kept.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Places among the steps, as a tensor is indexed.
Places = int | slice | Tensor | tuple[Tensor, Tensor]


class Recomputed:
    """In place of a tensor over time: its part at some steps, made when it is asked for.

    Args:
        made: From places to that part.
        steps: How many there are.
    """

    def __init__(self, made: Callable[[Places], Tensor], steps: int) -> None:
        self._made, self._steps = made, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, places: Places) -> Tensor:
        with torch.no_grad():
            if isinstance(places, int):
                return self._made(slice(places, places + 1))[0]
            return self._made(places)

    def cpu(self) -> "Recomputed":
        """The same, on the CPU."""
        return Recomputed(lambda places: self[places].cpu(), self._steps)
