"""Gradient flossing: Lyapunov exponents are driven to 0 through the decomposition that measures them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from reproduce.claim import Claim, Found
from throughtime import cells
from throughtime.adjoint import Pushforward
from throughtime.measures import spectrum_of
from throughtime.unroll import Weights, unroll

SIZE, STEPS, TRANSIENT, EXPONENTS = 32, 150, 60, 2
GAIN, INPUT, RATE, EPOCHS, SAMPLES = 1.0, 0.1, 3e-3, 600, 4
# Published: below this.
FLOSSED = 0.01


def exponents(weight: Tensor, steps: int, seed: int) -> Tensor:
    """The leading exponents of h_t = tanh(W h_{t-1} + x_t) on random inputs, in nats per step, with their graph."""
    generator = torch.Generator().manual_seed(seed)
    inputs = INPUT * torch.randn(steps, SAMPLES, SIZE, generator=generator, dtype=torch.float64)
    weights = Weights(torch.eye(SIZE, dtype=torch.float64), weight)
    start = {"h": torch.randn(SAMPLES, SIZE, generator=generator, dtype=torch.float64)}
    pushes = Pushforward(cells.RNN(), weights, unroll(cells.RNN(), weights, inputs, start))
    return spectrum_of(pushes, pushes.directions(EXPONENTS), TRANSIENT).exponents


def check() -> str:
    """The gradient of the loss is that of finite differences."""
    weight, direction = _drawn(1), _drawn(2)
    loss = exponents(weight.requires_grad_(), 2 * TRANSIENT, 0).square().mean()
    slope = (torch.autograd.grad(loss, weight)[0] * direction).sum()
    step = 1e-6
    with torch.no_grad():
        above, below = (
            exponents(weight + sign * step * direction, 2 * TRANSIENT, 0).square().mean() for sign in (1, -1)
        )
    difference = (above - below) / (2 * step)
    return "" if abs(slope - difference) < 1e-5 * abs(difference) else f"the slope is {slope}, not {difference}"


def numbers() -> Iterator[Found]:
    """The largest exponent in size, before and after, on inputs that were not trained on."""
    weight = _drawn(0).requires_grad_()
    held_out = 10**6
    before = exponents(weight, 10 * STEPS, held_out).abs().max().item()
    optimiser = torch.optim.Adam([weight], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    for epoch in range(EPOCHS):
        optimiser.zero_grad()
        exponents(weight, STEPS, epoch).square().mean().backward()
        optimiser.step()
        schedule.step()
    after = exponents(weight, 10 * STEPS, held_out).abs().max().item()
    claim = f"{EXPONENTS} exponents flossed to 0: the largest in size, nats a step"
    yield Found(claim, f"below {FLOSSED}", f"{after:.4f}, from {before:.3f}", after < FLOSSED < before)


def _drawn(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64) * (GAIN / SIZE**0.5)


FLOSSING = Claim(19, "gradient flossing", "Engelken 2023 (arXiv:2312.17306)", check, numbers)
