"""The gated recurrent unit as first published (Cho et al. 2014, arXiv:1406.1078): reset before the product."""

import torch
from torch import Tensor
from torch.nn import functional

from throughtime.cells.step import Step


class ResetBeforeGRU(Step):
    """h_t = z * h_{t-1} + (1 - z) * tanh(W_in x_t + b_in + W_hn (r * h_{t-1})), r and z as in `torch.nn.GRU`.

    The candidate's product can be taken only once r is there, so that a step is two products in a row. `torch.nn.GRU`
    and cuDNN reset after the product, r * (W_hn h_{t-1} + b_hn), which Keras calls `reset_after`; its weights have the
    same shapes and mean something else. Gates are in torch's order, r z n; as in Keras, each has one bias.
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """As torch's, with one bias."""
        rows = 3 * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, self.input_size),
            "weight_hh": (rows, self.hidden_size),
        }
        return shapes | ({"bias_ih": (rows,)} if self.bias else {})

    def forward(self, input: Tensor, *states: Tensor) -> Tensor:
        """h_t from x_t and h_{t-1}."""
        (h,) = states
        x_r, x_z, x_n = functional.linear(input, self.weight_ih, self.bias_ih if self.bias else None).chunk(3, dim=-1)
        w_r, w_z, w_n = self.weight_hh.chunk(3)
        r, z = torch.sigmoid(x_r + h @ w_r.T), torch.sigmoid(x_z + h @ w_z.T)
        return z * h + (1 - z) * torch.tanh(x_n + (r * h) @ w_n.T)
