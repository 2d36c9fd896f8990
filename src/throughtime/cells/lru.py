"""The linear recurrent unit (Orvieto, Smith, Gu, Fernando, Gulcehre, Pascanu, De 2023, arXiv:2303.06349)."""

from typing import Any

import torch

from throughtime.cells.cell import Cell, Named, Update


class LRU(Cell):
    """h_t = lambda h_{t-1} + exp(gamma) * B x_t with complex lambda = exp(-exp(nu) + i exp(theta)).

    A complex unit is a pair of real ones: h holds all real parts, then all imaginary ones, so that `hidden_size` is
    twice the number of complex units, and `weight_hh`, which is made of nu and theta, turns and shrinks each pair.
    `weight_ih` is made of B and gamma. What the paper reads out, Re(C h) + D x, is a linear layer on h, and x beside
    it. The product with `weight_hh` is a dense one here: it costs H^2 where the diagonal alone would cost H.
    """

    gates = ("h",)

    def weight_shapes(
        self, input_size: int, hidden_size: int, bias: bool = True, projected: int | None = None
    ) -> dict[str, tuple[int, ...]]:
        """B as `weight_ih`, and nu, theta and gamma with one number per complex unit.

        Raises:
            ValueError: `hidden_size` is odd.
        """
        if hidden_size % 2:
            raise ValueError(f"hidden_size: expected an even number, of pairs of real units, found {hidden_size}")
        shapes = super().weight_shapes(input_size, hidden_size, bias, projected)
        by_pair = dict.fromkeys(("weight_nu", "weight_theta", "weight_gamma"), (hidden_size // 2,))
        return {name: shape for name, shape in shapes.items() if name in ("weight_ih", "bias_ih")} | by_pair

    def made(self, weights: Named) -> Named:
        """From nu, theta and gamma to the weights of the equation."""
        modulus, angle = (-weights["weight_nu"].exp()).exp(), weights["weight_theta"].exp()
        real, imaginary = torch.diag(modulus * angle.cos()), torch.diag(modulus * angle.sin())
        turned = torch.cat([torch.cat([real, -imaginary], dim=1), torch.cat([imaginary, real], dim=1)])
        scale = torch.cat([weights["weight_gamma"]] * 2).exp().unsqueeze(1)
        rest = {name: weight for name, weight in weights.items() if name == "bias_ih"}
        return {"weight_ih": scale * weights["weight_ih"], "weight_hh": turned} | rest

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """Linear; what is kept is in the product."""
        return Update(keep=0, write=1, candidate=x.h + u.h)
