"""A step that fits no `Cell`, because it needs two products in a row: a module, as torch's single-step cells are."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class Step(nn.Module, ABC):
    """One step from x_t and the states before it to the states after it.

    Its derivatives are autograd's: it is examined as any loop is, without paths. Weights are drawn from
    U(-1/sqrt(H), 1/sqrt(H)), as torch draws them.

    Args:
        input_size: Features of x_t.
        hidden_size: Units of h, H.
        bias: Whether there is a bias.
        device: Of the weights.
        dtype: Of the weights.

    Attributes:
        states: Their names, in the order in which they are given and returned.
    """

    states: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        for name, shape in self.weight_shapes().items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    @abstractmethod
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """The weights by name."""

    @abstractmethod
    def forward(self, input: Tensor, *states: Tensor) -> Any:
        """The states after the step, each (batch, features): one by itself, several as a tuple."""

    @property
    def state_sizes(self) -> dict[str, int]:
        """Features of every state."""
        return dict.fromkeys(self.states, self.hidden_size)

    def reset_parameters(self) -> None:
        """Draw every weight anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")
