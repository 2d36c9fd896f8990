"""Chrono initialisation against a forget bias of 1, on a task whose dependency is known."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

import throughtime as tt
from reproduce.claim import Claim, Found
from throughtime.tasks.adding import BASELINE, adding

STEPS, HIDDEN, BATCH, ITERATIONS, RATE = 100, 64, 32, 3000, 1e-3
# Nothing is learned while the error is still this part of the baseline, 1/6.
NOTHING = 0.9
# Iterations, the last ones, over which the error is averaged.
AVERAGED = 100
Start = Callable[[nn.LSTM], object]
STARTS: dict[str, Start] = {
    "forget bias 1": lambda lstm: tt.init.forget_bias_(lstm, 1.0),
    "chrono": lambda lstm: tt.init.chrono_(lstm, STEPS),
}


class Adder(nn.Module):
    """The sum that was asked for, from the last state of an LSTM."""

    def __init__(self, start: Start) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.readout = nn.LSTM(2, HIDDEN), nn.Linear(HIDDEN, 1)
        start(self.lstm)

    def forward(self, inputs: Tensor) -> Tensor:
        """(time, batch, 2) to one number a sample."""
        return self.readout(self.lstm(inputs)[0][-1]).squeeze(-1)


def check() -> str:
    """Both start from the same weights, and differ in the biases as their papers say."""
    one, other = (Adder(start).lstm for start in STARTS.values())
    if not torch.equal(one.weight_hh_l0, other.weight_hh_l0):
        return "the two networks start from different weights"
    forget, chrono = (
        lstm.bias_ih_l0[HIDDEN : 2 * HIDDEN] + lstm.bias_hh_l0[HIDDEN : 2 * HIDDEN] for lstm in (one, other)
    )
    write = other.bias_ih_l0[:HIDDEN] + other.bias_hh_l0[:HIDDEN]
    times = chrono.exp()
    if not (forget == 1).all() or not (write == -chrono).all():
        return "the biases are not those of the papers"
    return "" if times.min() >= 1 and times.max() <= STEPS - 0.99 else "the time constants leave their range"


def numbers() -> Iterator[Found]:
    """The error that each ends at."""
    errors = {name: trained(Adder(start)) for name, start in STARTS.items()}
    plain, spread = errors["forget bias 1"], errors["chrono"]
    task = f"the adding task of {STEPS} steps in {ITERATIONS} iterations"
    claim = f"chrono learns {task}, forget bias 1 does not: mean squared error"
    yield Found(
        claim,
        ".032 against .165",
        f"{spread:.3f} against {plain:.3f}",
        spread < BASELINE / 2 and plain > NOTHING * BASELINE,
    )


def trained(model: nn.Module) -> float:
    """The mean squared error over the last iterations."""
    optimiser = torch.optim.Adam(model.parameters(), lr=RATE)
    generator, errors = torch.Generator().manual_seed(0), []
    for _ in range(ITERATIONS):
        inputs, sums = adding(STEPS, BATCH, generator)
        loss = (model(inputs) - sums).square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        errors.append(loss.item())
    return sum(errors[-AVERAGED:]) / AVERAGED


CHRONO = Claim(20, "chrono initialisation", "Tallec, Ollivier 2018 (arXiv:1804.11188)", check, numbers)
