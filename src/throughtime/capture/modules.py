"""Which modules are recurrences we can open, and how each is read: its cell, its weights, its own kernel."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from throughtime.cells import Cell, Named, torchs_cell
from throughtime.fused import executor, torchs_function
from throughtime.unroll import Reading, Recurrent, Trajectory, Weights, retrace, run_as_read, unroll

# torch's fused layers and Throughtime's own; everything else is ordinary autograd.
RECURRENT_MODULES = (nn.RNN, nn.GRU, nn.LSTM, Recurrent)

# Modules that hold a recurrent cell but run one step a call.
SINGLE_STEP_MODULES = (nn.RNNCell, nn.GRUCell, nn.LSTMCell)


@dataclass(frozen=True)
class Layers:
    """A recurrent module, read through one interface.

    Args:
        module: The module.
        cell: Its equations.
    """

    module: Any
    cell: Cell

    @property
    def directions(self) -> int:
        """1 or 2."""
        return 1 + int(self.module.bidirectional)

    @property
    def projected_size(self) -> int:
        """Features of h_t where they are a projection, P; 0 without."""
        return getattr(self.module, "proj_size", 0)

    @property
    def sizes(self) -> dict[str, int]:
        """Features of every state."""
        sizes = dict.fromkeys(self.cell.states, self.module.hidden_size)
        return sizes | {"h": self.projected_size or sizes["h"]}

    def parameters(self, layer: int, direction: int) -> dict[str, Tensor]:
        """The weights of one recurrence, by torch's name without layer and direction.

        Where a weight is computed from others (by a parametrization, weight norm, dropout on weights), the result.
        """
        if isinstance(self.module, Recurrent):
            return self.module.weights(layer, direction).named()
        attributes = self.attributes(layer, direction)
        if isinstance(self.module, nn.RNNBase):
            held = weights_of(self.module)
            return {name: held[attribute] for name, attribute in attributes.items()}
        return {name: getattr(self.module, attribute) for name, attribute in attributes.items()}

    @property
    def have_plain_weights(self) -> bool:
        """Whether what they work with are parameters, and not computed from others at every look."""
        module = self.module
        if isinstance(module, nn.RNNBase):
            return all(name in module._parameters for name in module._flat_weights_names)
        as_held = type(module).weights is Recurrent.weights and type(self.cell).made is Cell.made
        return as_held and not is_parametrized(module)

    def called(self) -> None:
        """Do what the module itself does when it is called, before it reads anything.

        torch's layers look at all of their weights then, and every look at one that is computed from others may change
        it, as in a spectral norm in training.
        """
        if isinstance(self.module, nn.RNNBase):
            self.module._update_flat_weights()

    def attributes(self, layer: int, direction: int) -> dict[str, str]:
        """By the same names, the attributes of the module that hold them."""
        suffix = Recurrent.suffix(layer, direction)
        if isinstance(self.module, Recurrent):
            return {name: name + suffix for name in self.module.weights(layer, direction).named()}
        names = ("weight_ih", "weight_hh") + (("bias_ih", "bias_hh") if self.module.bias else ())
        names += ("weight_hr",) if self.projected_size else ()
        return {name: name + suffix for name in names}

    def run(
        self,
        weights: Weights,
        sequence: Tensor,
        initial: Named,
        reading: Reading,
        memory: int | None = None,
        segments: int | None = None,
    ) -> Trajectory:
        """One layer and direction over a sequence, by the kernel that the module itself uses.

        Args:
            weights: Its weights.
            sequence: (time, batch, input), in its own order.
            initial: By state, s_0.
            reading: In which order it is read.
            memory: Bytes that the pre-activations may take; see `retrace`.
            segments: In so many parts it is run, one after the other, where nothing but the sequence itself is read;
                None for one.
        """
        read, running = reading.order(sequence), reading.running(len(sequence))
        if isinstance(self.module, Recurrent):
            known = self._states(weights, sequence, initial, reading, segments)
            if known is None:
                return unroll(self.cell, weights, read, initial, running, reading.restarts())
            return retrace(self.cell, weights, read, initial, known, running, reading.restarts(), memory)
        arguments = (list(weights.named().values()), bool(self.module.bias), 1, 0.0, False, False, False)
        start: Sequence[Tensor] = [initial[state].unsqueeze(0) for state in self.cell.states]
        moved = []
        # Of a batch laid out by sample, torch rounds otherwise than under autograd, which lays it out by step.
        for part in parts_of(reading.begun_at_once(read).contiguous(), segments):
            start_as_torch = start if len(start) > 1 else start[0]
            output, *start = torchs_function(self.cell)(part, start_as_torch, *arguments)
            moved.append(output)
        hidden = reading.resting(reading.begun_in_place(_joined(moved)), initial["h"])
        return retrace(self.cell, weights, read, initial, {"h": hidden}, running, memory=memory)

    def _states(
        self, weights: Weights, sequence: Tensor, initial: Named, reading: Reading, segments: int | None = None
    ) -> Named | None:
        """By name s_1 .. s_T, in reading order, as a kernel of ours finds them; None where there is none."""
        named = weights.named()
        if weights.weight_hr is not None or self.module.backend == "reference":
            return None
        if executor(self.cell, sequence, weights=named, initial=initial) != "fused":
            return None
        start, runs = initial, []
        for part in parts_of(sequence, segments):
            runs.append(run_as_read(self.cell, part, named, start, reading, by="fused"))
            start = runs[-1].last
        steps = {name: _joined([one.steps[name] for one in runs]) for name in initial}
        return {name: reading.resting(reading.order(states), initial[name]) for name, states in steps.items()}


def named_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """All modules by qualified name, without what torch.compile wraps around them."""
    for name, module in model.named_modules():
        yield ".".join(part for part in name.split(".") if part != "_orig_mod"), module


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """The weights that a recurrent module worked with when it was last called, by the names of its attributes."""
    if isinstance(module, nn.RNNBase):
        held = zip(module._flat_weights_names, module._flat_weights, strict=True)
        return {name: weight for name, weight in held if weight is not None}
    return dict(module.named_parameters())


@contextmanager
def noting_weights(layer: Recurrent) -> Iterator[Named]:
    """The weights that a layer of ours last worked with, by attribute, also where they are made of its parameters."""
    noted: Named = {}

    def weights(at: int, direction: int) -> Weights:
        found = type(layer).weights(layer, at, direction)
        noted.update({name + layer.suffix(at, direction): weight for name, weight in found.named().items()})
        return found

    with patch.dict(layer.__dict__, weights=weights):
        yield noted


def is_plain_cell(module: nn.Module) -> bool:
    """Whether one of torch's cells does what its class does, with weights of its own."""
    weights = [name for name in dir(module) if name.startswith(("weight_", "bias_"))]
    return type(module).forward is own_kind(module).forward and all(name in module._parameters for name in weights)


def own_kind(module: nn.Module) -> Any:
    """The class of torch's or ours whose forward function a recurrent module has, or replaces."""
    return next(kind for kind in (*RECURRENT_MODULES, *SINGLE_STEP_MODULES) if isinstance(module, kind))


def layers_of(module: nn.Module) -> Layers:
    """How a recurrent module is read."""
    cell = module.cell if isinstance(module, Recurrent) else torchs_cell(module)
    if cell is None:
        raise TypeError(f"module: expected a recurrent layer or cell, found {type(module).__name__}")
    return SingleStep(module, cell) if isinstance(module, SINGLE_STEP_MODULES) else Layers(module, cell)


@dataclass(frozen=True)
class SingleStep(Layers):
    """A module of torch's that runs one step a call."""

    def attributes(self, layer: int, direction: int) -> dict[str, str]:
        """Its weights, by their own names."""
        return {name: name for name, _ in self.module.named_parameters()}

    def run(
        self,
        weights: Weights,
        sequence: Tensor,
        initial: Named,
        reading: Reading,
        memory: int | None = None,
        segments: int | None = None,
    ) -> Trajectory:
        """One step."""
        return unroll(self.cell, weights, sequence, initial)


def parts_of(sequence: Tensor, count: int | None) -> Sequence[Tensor]:
    """A sequence in so many parts, of equal length to a step; None for one."""
    if count is None:
        return (sequence,)
    # Of tensor_split, every part alone has a gradient of the whole sequence's size.
    return sequence.split([(len(sequence) + part) // count for part in range(count)])


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
