"""Recurrent layers with `torch.nn`'s arguments, weight names and outputs, for any cell."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from throughtime.cells import Cell
from throughtime.unroll.trajectory import Weights, unroll


class Recurrent(nn.Module):
    """A cell over a sequence: stacked, in both directions, with the interface of `torch.nn.RNN`.

    Args:
        cell: A `Cell`, or a class of cells that needs no arguments.
        input_size: Features of x_t.
        hidden_size: Features of h_t, H.
        num_layers: Layers on top of each other.
        bias: Whether there are `bias_ih` and `bias_hh`.
        batch_first: Whether input and output are (batch, time, features) instead of (time, batch, features).
        dropout: Probability of dropout on the outputs of all layers but the last.
        bidirectional: Whether a second recurrence reads the sequence backwards in every layer.
        device: Of the weights.
        dtype: Of the weights.

    Weights are named `weight_ih_l{k}`, `weight_hh_l{k}`, `bias_ih_l{k}`, `bias_hh_l{k}`, with the suffix `_reverse`
    for the second direction, and are drawn from U(-1/sqrt(H), 1/sqrt(H)), all as in torch.

    Raises:
        TypeError: `cell` is no cell.
        ValueError: A size is below 1, or `dropout` is no probability.
    """

    def __init__(
        self,
        cell: Cell | type[Cell],
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.cell = cell() if isinstance(cell, type) and issubclass(cell, Cell) else cell
        if not isinstance(self.cell, Cell):
            raise TypeError(f"cell: expected a throughtime.Cell or a subclass of it, found {cell!r}")
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if size < 1:
                raise ValueError(f"{name}: expected at least 1, found {size}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout: expected a probability between 0 and 1, found {dropout}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, dropout, bidirectional
        directions = 1 + bidirectional
        for layer in range(num_layers):
            columns = input_size if layer == 0 else directions * hidden_size
            for direction in range(directions):
                for name, shape in self.cell.weight_shapes(columns, hidden_size, bias).items():
                    parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                    self.register_parameter(name + self.suffix(layer, direction), parameter)
        self.reset_parameters()

    @staticmethod
    def suffix(layer: int, direction: int) -> str:
        """What follows a weight's name: "_l0", "_l0_reverse", "_l1", ..."""
        return f"_l{layer}" + ("_reverse" if direction else "")

    def reset_parameters(self) -> None:
        """Draw every weight from U(-1/sqrt(H), 1/sqrt(H)), torch's initialisation."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def weights(self, layer: int, direction: int) -> Weights:
        """The weights of one recurrence of the stack."""
        suffix = self.suffix(layer, direction)
        return Weights.of({name: getattr(self, name + suffix) for name in self.weight_names})

    @property
    def weight_names(self) -> tuple[str, ...]:
        """The weights of one recurrence, without layer and direction."""
        return tuple(self.cell.weight_shapes(self.input_size, self.hidden_size, self.bias))

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """Run over a sequence.

        Args:
            input: (time, batch, input_size), (batch, time, input_size) with `batch_first`, or (time, input_size).
            hx: The initial state, (layers * directions, batch, hidden_size), a tuple of one per state for a cell
                with several; zeros by default.

        Returns:
            The hidden states of the last layer, laid out like the input, and the final states, laid out like `hx`.

        Raises:
            TypeError: `input` is no tensor.
            ValueError: The shape of `input` or `hx` does not fit.
        """
        sequence, batched = self.time_first(input)
        initial = self.initial_states(hx, sequence, batched)
        final: dict[str, list[Tensor]] = {name: [] for name in self.cell.states}
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(1 + self.bidirectional):
                start = {name: states[len(final[name])] for name, states in initial.items()}
                read = sequence.flip(0) if direction else sequence
                states = unroll(self.cell, self.weights(layer, direction), read, start).states
                outputs.append(states["h"][1:].flip(0) if direction else states["h"][1:])
                for name, steps in states.items():
                    final[name].append(steps[-1])
            sequence = torch.cat(outputs, dim=-1)
            if layer < self.num_layers - 1:
                sequence = functional.dropout(sequence, self.dropout, self.training)
        last = {name: torch.stack(states) for name, states in final.items()}
        if not batched:
            sequence, last = sequence.squeeze(1), {name: states.squeeze(1) for name, states in last.items()}
        elif self.batch_first:
            sequence = sequence.transpose(0, 1)
        return sequence, tuple(last.values()) if len(last) > 1 else last["h"]

    def time_first(self, input: Tensor) -> tuple[Tensor, bool]:
        """The input as (time, batch, features), and whether it had a batch axis."""
        if not isinstance(input, Tensor):
            raise TypeError(f"input: expected a tensor, found {type(input).__name__}; pad sequences that are packed")
        if input.dim() not in (2, 3) or input.shape[-1] != self.input_size:
            expected = f"(time, batch, {self.input_size}) or (time, {self.input_size})"
            raise ValueError(f"input: expected {expected}, found {tuple(input.shape)}")
        if 0 in input.shape:
            raise ValueError(f"input: expected at least one step and one sample, found shape {tuple(input.shape)}")
        if input.dim() == 2:
            return input.unsqueeze(1), False
        return (input.transpose(0, 1) if self.batch_first else input), True

    def initial_states(self, hx: Any, sequence: Tensor, batched: bool) -> dict[str, Tensor]:
        """By state name, (layers * directions, batch, hidden)."""
        names = self.cell.states
        shape = (self.num_layers * (1 + self.bidirectional), sequence.shape[1], self.hidden_size)
        if hx is None:
            return dict.fromkeys(names, sequence.new_zeros(shape))
        given = hx if isinstance(hx, tuple) else (hx,)
        if len(given) != len(names):
            raise ValueError(f"hx: expected {len(names)} state(s) {names}, found {len(given)}")
        states = [state if batched else state.unsqueeze(1) for state in given]
        for state in states:
            if state.shape != shape:
                raise ValueError(f"hx: expected shape {shape}, found {tuple(state.shape)}")
        return dict(zip(names, states, strict=True))

    def extra_repr(self) -> str:
        """The arguments that differ from the defaults, as torch prints them."""
        defaults = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
        changed = [
            f", {name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value
        ]
        return f"{self.cell!r}, {self.input_size}, {self.hidden_size}{''.join(changed)}"
