"""The structurally constrained network (Mikolov, Joulin, Chopra, Mathieu, Ranzato 2014, arXiv:1412.7753)."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from throughtime.cells.step import Step


class SCRN(Step):
    """s_t = alpha * s_{t-1} + (1 - alpha) * B x_t, h_t = sigmoid(P s_t + A x_t + b + R h_{t-1}).

    Along the slow state the gradient decays by ln alpha nats per step, whatever the weights are. The paper has no bias,
    reads out both states, and tries an alpha learned for every slow unit; here it is one constant.

    Args:
        input_size: Features of x_t.
        hidden_size: Units of h, H.
        bias: Whether there is b.
        device: Of the weights.
        dtype: Of the weights.
        slow_size: Units of s; None for H.
        alpha: How much of itself the slow state keeps; the paper fixes 0.95.

    Attributes:
        weight_ih: A.
        weight_hh: R.
        weight_is: B.
        weight_sh: P.

    Raises:
        ValueError: `slow_size` is below 1, or `alpha` not between 0 and 1.
    """

    states = ("h", "s")
    weight_ih: Tensor
    weight_hh: Tensor
    weight_is: Tensor
    weight_sh: Tensor
    bias_ih: Tensor

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        slow_size: int | None = None,
        alpha: float = 0.95,
    ) -> None:
        if slow_size is not None and slow_size < 1:
            raise ValueError(f"slow_size: expected at least 1, or None for hidden_size, found {slow_size}")
        if not 0 < alpha < 1:
            raise ValueError(f"alpha: expected between 0 and 1, found {alpha}")
        self.slow_size, self.alpha = hidden_size if slow_size is None else slow_size, alpha
        super().__init__(input_size, hidden_size, bias, device, dtype)

    @property
    def state_sizes(self) -> dict[str, int]:
        """Features of every state."""
        return {"h": self.hidden_size, "s": self.slow_size}

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """A, R, B, P and b."""
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (self.hidden_size, self.input_size),
            "weight_hh": (self.hidden_size, self.hidden_size),
            "weight_is": (self.slow_size, self.input_size),
            "weight_sh": (self.hidden_size, self.slow_size),
        }
        return shapes | ({"bias_ih": (self.hidden_size,)} if self.bias else {})

    def forward(self, input: Tensor, *states: Tensor) -> tuple[Tensor, Tensor]:
        """h_t and s_t from x_t, h_{t-1} and s_{t-1}."""
        h, s = states
        s = self.alpha * s + (1 - self.alpha) * functional.linear(input, self.weight_is)
        x = functional.linear(input, self.weight_ih, self.bias_ih if self.bias else None)
        return torch.sigmoid(x + s @ self.weight_sh.T + h @ self.weight_hh.T), s

    def extra_repr(self) -> str:
        """Its sizes and its constant."""
        return f"{super().extra_repr()}, slow_size={self.slow_size}, alpha={self.alpha}"
