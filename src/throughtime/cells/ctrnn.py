"""The leaky, or continuous-time, network of neuroscience, in discrete time (Funahashi, Nakamura 1993)."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import tanh


class CTRNN(Cell):
    """h_t = (1 - a) * h_{t-1} + a * tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), a = dt / tau: Euler's step.

    It integrates tau dh/dt = -h + tanh(...). A unit that hears nothing decays by ln(1 - a) nats per step. A variant has
    the tanh around h_{t-1} inside the product (Sompolinsky, Crisanti, Sommers 1988): the same numbers seen elsewhere.

    Args:
        tau: The time constant, in the unit of `dt`.
        dt: The length of a step.

    Raises:
        ValueError: A step is longer than the time constant, or one of the two is not above 0.
    """

    gates = ("h",)

    def __init__(self, tau: float = 10.0, dt: float = 1.0) -> None:
        if not 0 < dt <= tau:
            raise ValueError(f"tau, dt: expected 0 < dt <= tau, found tau={tau}, dt={dt}")
        self.tau, self.dt = tau, dt

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """Both gates are constants."""
        a = self.dt / self.tau
        return Update(keep=1 - a, write=a, candidate=tanh(x.h + u.h))
