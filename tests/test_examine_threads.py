"""Several threads that examine at once wait for each other, and leave torch as it was."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn

import throughtime as tt

STEPS, BATCH, SIZE = 12, 3, 4


class Stepping(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(SIZE, SIZE)

    def forward(self, inputs):
        h, states = torch.zeros_like(inputs[0]), []
        for x in inputs:
            h = self.cell(x, h)
            states.append(h)
        return torch.stack(states)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(SIZE, SIZE)

    def forward(self, inputs):
        return self.layer(inputs)[0]


def loss(output, targets):
    return (output - targets).square().sum((1, 2))


def replaceable():
    return (
        nn.LSTM.forward,
        nn.GRUCell.forward,
        torch.autocast.__enter__,
        torch.autocast.__exit__,
        torch.autograd.Function.__dict__["apply"],
        torch.utils.checkpoint.CheckpointFunction,
    )


class Scaled(torch.autograd.Function):
    """What gets its arguments past torch's functions."""

    @staticmethod
    def forward(ctx, weight):
        return 2 * weight

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class Written(nn.Module):
    """A loop whose weights are stood in for by copies while it is examined."""

    def __init__(self):
        super().__init__()
        self.both = nn.Linear(2 * SIZE, SIZE)

    def forward(self, inputs):
        h, states = torch.zeros_like(inputs[0]), []
        for x in inputs:
            h = torch.tanh(self.both(torch.cat((x, h), -1)))
            states.append(h)
        return torch.stack(states)


def test_another_thread_goes_on_training():
    """A step of a training is run in another thread while the model is."""
    model, weight, inputs = Written(), nn.Parameter(torch.ones(SIZE)), torch.randn(STEPS, BATCH, SIZE)
    steps = 0

    def trained():
        weight.grad = None
        Scaled.apply(weight).sum().backward()
        return weight.grad

    with ThreadPoolExecutor(1) as thread:

        def stepping(module, arguments):
            nonlocal steps
            steps += 1
            assert torch.equal(thread.submit(trained).result(), torch.full((SIZE,), 2.0))

        model.both.register_forward_pre_hook(stepping)
        tt.examine(model, inputs, torch.zeros_like(inputs), loss=loss)
    assert steps >= 2 * STEPS


def test_threads_wait_for_each_other():
    torch.manual_seed(0)
    models = [Stepping(), Layer(), Stepping(), Layer()]
    inputs = torch.randn(STEPS, BATCH, SIZE)

    def examined(model):
        return tt.examine(model, inputs, torch.zeros_like(inputs), loss=loss)

    before, alone = replaceable(), [examined(model) for model in models]
    with ThreadPoolExecutor(len(models)) as threads:
        together = list(threads.map(examined, models * 2))
    assert replaceable() == before
    for one, other in zip(together, alone * 2, strict=True):
        for name in other.recurrences:
            np.testing.assert_allclose(one[name].gradient_map, other[name].gradient_map, rtol=1e-5)
