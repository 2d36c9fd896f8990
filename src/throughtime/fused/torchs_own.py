"""torch's own layers (oneDNN and its native loops on a CPU, cuDNN on a GPU), for the cells whose equations they run."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.cells import GRU, LSTM, RNN, Cell, Named
from throughtime.fused.reference import Run


def _function(cell: Cell) -> Any:
    if isinstance(cell, RNN):
        return torch.rnn_tanh if cell.nonlinearity == "tanh" else torch.rnn_relu
    return {LSTM: torch.lstm, GRU: torch.gru}[type(cell)]


def is_torchs(cell: Cell) -> bool:
    """Whether torch has a layer with these equations."""
    return type(cell) in (RNN, LSTM, GRU)


def torchs_own(
    cell: Cell,
    inputs: Float[Tensor, "time batch input"],
    weights: Named,
    initial: Named,
    *,
    reverse: bool = False,
    training: bool = False,
) -> Run:
    """Run one layer in one direction by torch's own function.

    Args:
        cell: One of which `is_torchs` is true.
        inputs: x_1 .. x_T.
        weights: By torch's name without a suffix; both biases or none.
        initial: By state name, the state before the first step that is read, (batch, hidden).
        reverse: Whether the sequence is read from its last step to its first.
        training: Whether a backward pass may follow.

    Returns:
        As from `throughtime.fused.run`; of an LSTM's c only the last one, which is all that torch tells.
    """
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    parameters = [weights[name] for name in names if name in weights]
    states = [initial[name].unsqueeze(0) for name in cell.states]
    read = inputs.flip(0) if reverse else inputs
    hx = states if len(states) > 1 else states[0]
    output, *last = _function(cell)(read, hx, parameters, len(parameters) == 4, 1, 0.0, training, False, False)
    steps = {"h": output.flip(0) if reverse else output}
    return Run(steps, {name: state.squeeze(0) for name, state in zip(cell.states, last, strict=True)})
