"""Planted in the dtype of the training: gradients that it rounds to zero."""

import torch
from torch import Tensor, nn

from faults.planted import FEATURES, UNITS, Case, Loss, Planted, every_step, ill, reading
from faults.single_state import in_float64, tanh
from faults.weights import biased

HALF, BRAIN = torch.float16, torch.bfloat16


def times(factor: float) -> Loss:
    """The loss of every step, so many times as large: what a mean over many samples, steps and outputs makes of it."""

    def scaled(output: Tensor, targets: Tensor) -> Tensor:
        return factor * every_step(output, targets)

    return scaled


def keeping(factor: float, dtype: torch.dtype) -> Case:
    """A healthy LSTM with a loss of this size."""
    return reading(biased(nn.LSTM(FEATURES, UNITS), g1=5.0), loss=times(factor), trained_in=dtype)


HEALTHY = (
    Planted("LSTM, forget bias +5, float16", lambda: keeping(1.0, HALF)),
    Planted("LSTM, forget bias +5, a loss of 1e-9, bfloat16", lambda: keeping(1e-9, BRAIN)),
    Planted("LSTM, forget bias +5, a loss of 1e-9, float32", lambda: keeping(1e-9, torch.float32)),
)

ILL = (
    ill("LSTM, forget bias +5, a loss of 1e-9, float16", lambda: keeping(1e-9, HALF), "underflow"),
    ill("LSTM, forget bias +5, a loss of 1e-42, bfloat16", lambda: in_float64(keeping(1e-42, BRAIN)), "underflow"),
    ill(
        "tanh, 0.85 x orthogonal, a loss of 1e-5, float16",
        lambda: tanh(0.85, loss=times(1e-5), trained_in=HALF),
        "vanishing",
        "underflow",
    ),
    # It vanishes long before it underflows.
    ill("tanh, 0.3 x orthogonal, float16", lambda: tanh(0.3, trained_in=HALF), "vanishing"),
)
