"""The arguments and the weights of stacked recurrences, named and laid out as in `torch.nn`."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import nn

from throughtime.cells import Cell, derive
from throughtime.fused import BACKENDS
from throughtime.unroll.trajectory import Weights

# Beside the sizes, what a layer is printed with where it is not the default, in torch's order.
DEFAULTS = {
    "proj_size": 0,
    "num_layers": 1,
    "bias": True,
    "batch_first": False,
    "dropout": 0.0,
    "bidirectional": False,
}


class Stacked(nn.Module):
    """The weights of a cell's recurrences, stacked and in one or both directions.

    Args:
        cell: A `Cell`, or a class of cells that needs no arguments.
        input_size: Features of x_t.
        hidden_size: Units, H.
        num_layers: Layers on top of each other.
        bias: Whether there are `bias_ih` and `bias_hh`.
        batch_first: Whether input and output are (batch, time, features) instead of (time, batch, features).
        dropout: Probability of dropout on the outputs of all layers but the last.
        bidirectional: Whether a second recurrence reads the sequence backwards in every layer.
        proj_size: Features of h_t where it is a projection of the cell's output, h_t = W_hr output_t (Sak, Senior,
            Beaufays 2014, arXiv:1402.1128), for cells whose hidden state is an output of another; 0 for none.
        device: Of the weights.
        dtype: Of the weights.
        backend: What runs the equations. "reference": the equations themselves, step by step, under autograd. "fused":
            the kernel that is generated from them and compiled, for float32 and float64, by Numba for a CPU and by
            Triton for CUDA; where it cannot run, that is an error. "auto": the fastest one that can, which for an LSTM
            may be torch's own function; what is too short to be worth compiling is run by the reference. Derivatives of
            derivatives (`create_graph=True`) and several gradients at once (`is_grads_batched=True`) are the
            reference's, also where a kernel ran.

    Attributes:
        backend: What ran the last call: "reference", "fused" or "torch"; before the first call, what was asked for.
            Setting it asks for another.

    Weights are named `weight_ih_l{k}`, `weight_hh_l{k}`, `bias_ih_l{k}`, `bias_hh_l{k}`, `weight_hr_l{k}`, with the
    suffix `_reverse` for the second direction, and are drawn from U(-1/sqrt(H), 1/sqrt(H)), all as in torch.

    Raises:
        TypeError: `cell` is no cell, a size no whole number, or a switch neither True nor False.
        ValueError: A size is below 1, `dropout` is no probability, the cell has nothing to project, or `backend` is
            unknown, or cannot project.
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
        proj_size: int = 0,
        device: Any = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.cell = cell() if isinstance(cell, type) and issubclass(cell, Cell) else cell
        if not isinstance(self.cell, Cell):
            raise TypeError(f"cell: expected a throughtime.Cell or a subclass of it, found {cell!r}")
        self.cell.check_declared()
        # What cannot be derived is told now, not at the first batch that is large enough for a kernel.
        derive(self.cell)
        check_arguments(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        _check_projection(proj_size, hidden_size, self.cell)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, float(dropout), bidirectional
        self.proj_size = proj_size
        self.backend = backend
        for layer in range(num_layers):
            shapes = self._shapes(self.num_directions * self.state_sizes["h"] if layer else input_size)
            for direction in range(self.num_directions):
                for name, shape in shapes.items():
                    parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                    self.register_parameter(name + self.suffix(layer, direction), parameter)
        self.reset_parameters()

    @property
    def backend(self) -> str:
        """What ran the last call; before the first, what was asked for."""
        return self._ran or self._choice

    @backend.setter
    def backend(self, choice: str) -> None:
        if choice not in BACKENDS:
            raise ValueError(f"backend: expected one of {BACKENDS}, found {choice!r}")
        if choice == "fused" and self.proj_size:
            raise ValueError("backend: no kernel projects; use backend='auto' or 'reference' with proj_size")
        self._choice, self._ran = choice, ""

    @property
    def num_directions(self) -> int:
        """1 or 2."""
        return 1 + self.bidirectional

    @property
    def state_sizes(self) -> dict[str, int]:
        """Features of every state."""
        return dict.fromkeys(self.cell.states, self.hidden_size) | {"h": self.proj_size or self.hidden_size}

    @staticmethod
    def suffix(layer: int, direction: int) -> str:
        """What follows a weight's name: "_l0", "_l0_reverse", "_l1", ..."""
        return f"_l{layer}" + ("_reverse" if direction else "")

    def _shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        shapes = self.cell.weight_shapes(features, self.hidden_size, self.bias, self.state_sizes["h"])
        return shapes | ({"weight_hr": (self.proj_size, self.hidden_size)} if self.proj_size else {})

    @property
    def weight_names(self) -> tuple[str, ...]:
        """The parameters of one recurrence, without layer and direction."""
        return tuple(self._shapes(self.input_size))

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The weights of every layer and direction, as `torch.nn.RNNBase` lists them."""
        return [
            [getattr(self, name + self.suffix(layer, direction)) for name in self.weight_names]
            for layer in range(self.num_layers)
            for direction in range(self.num_directions)
        ]

    def reset_parameters(self) -> None:
        """Draw every weight from U(-1/sqrt(H), 1/sqrt(H)), torch's initialisation."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: there for models that call it on a layer of torch's, where it packs weights for cuDNN."""

    def weights(self, layer: int, direction: int) -> Weights:
        """The weights of one recurrence of the stack, as they enter the equations."""
        suffix = self.suffix(layer, direction)
        return Weights.of(self.cell.made({name: getattr(self, name + suffix) for name in self.weight_names}))

    def extra_repr(self) -> str:
        """The arguments that differ from the defaults, as torch prints them."""
        changed = [
            f", {name}={getattr(self, name)}" for name, value in DEFAULTS.items() if getattr(self, name) != value
        ]
        changed += [] if self._choice == "auto" else [f", backend={self._choice!r}"]
        return f"{self.cell!r}, {self.input_size}, {self.hidden_size}{''.join(changed)}"


def check_arguments(
    input_size: int,
    hidden_size: int,
    num_layers: int,
    bias: bool,
    batch_first: bool,
    dropout: float,
    bidirectional: bool,
) -> None:
    """What every layer takes must make sense.

    Raises:
        TypeError: A size is no whole number, or a switch neither True nor False.
        ValueError: A size is below 1, or `dropout` is no probability.
    """
    _check_sizes({"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers})
    _check_switches({"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional})
    _check_dropout(dropout, num_layers)


def _check_sizes(sizes: dict[str, Any]) -> None:
    for name, size in sizes.items():
        if not isinstance(size, int):
            raise TypeError(f"{name}: expected a whole number, found {size!r}")
        if size < 1:
            raise ValueError(f"{name}: expected at least 1, found {size}")


def _check_switches(switches: dict[str, Any]) -> None:
    for name, switch in switches.items():
        if not isinstance(switch, bool):
            raise TypeError(f"{name}: expected True or False, found {switch!r}")


def _check_dropout(dropout: Any, num_layers: int) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
        raise ValueError(f"dropout: expected a probability between 0 and 1, found {dropout!r}")
    if dropout and num_layers == 1:
        warnings.warn(
            f"dropout: {dropout} has no effect in a single layer; it stands between layers, so give num_layers=2 or "
            "more, or put nn.Dropout behind the layer",
            stacklevel=5,
        )


def _check_projection(proj_size: Any, hidden_size: int, cell: Cell) -> None:
    if not isinstance(proj_size, int) or not 0 <= proj_size < hidden_size:
        raise ValueError(f"proj_size: expected between 1 and {hidden_size - 1}, or 0 for none, found {proj_size!r}")
    if proj_size and cell.carried == "h":
        raise ValueError(
            f"proj_size: {cell!r} carries h itself from step to step, and only an output can be projected; choose a "
            "cell with one, such as LSTM, or put nn.Linear behind the layer"
        )
