"""Layers of steps that fit no `Cell`: a module that takes one step, called again and again."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from throughtime import cells
from throughtime.cells import Named, Step
from throughtime.unroll.arguments import check_input, check_steps, initial_states, lengths_of
from throughtime.unroll.parameters import Stacked, check_arguments
from throughtime.unroll.sequences import Layout, Reading


class Stepwise(nn.Module):
    """A step over a sequence: stacked, in both directions, called like `torch.nn.GRU`.

    The steps are modules of their own, `l0`, `l0_reverse`, `l1`, ..., whose weights have the names of torch's
    single-step cells: `l0.weight_ih`. An examination follows them as it follows any loop, without paths, and numbers
    steps in the order in which they are taken, also where that is from the end.

    Args:
        input_size: Features of x_t.
        hidden_size: Units, H.
        num_layers: Layers on top of each other.
        bias: Whether the steps have a bias.
        batch_first: Whether input and output are (batch, time, features) instead of (time, batch, features).
        dropout: Probability of dropout on the outputs of all layers but the last.
        bidirectional: Whether a second recurrence reads the sequence backwards in every layer.
        device: Of the weights.
        dtype: Of the weights.
        of_step: What the step itself takes, by keyword.

    Raises:
        TypeError: A size is no whole number, or a switch neither True nor False.
        ValueError: A size is below 1, or `dropout` is no probability.
    """

    of: ClassVar[type[Step]]
    # The states that are put out at every step, side by side.
    put_out: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        **of_step: Any,
    ) -> None:
        super().__init__()
        check_arguments(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional)
        _check_keywords(of_step, self.of)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout, self.bidirectional = bias, batch_first, float(dropout), bidirectional
        features = input_size
        for layer in range(num_layers):
            for direction in range(self.num_directions):
                step = self.of(features, hidden_size, bias, device, dtype, **of_step)
                self.add_module(self._name(layer, direction), step)
            features = self.num_directions * sum(step.state_sizes[state] for state in self.put_out)

    @property
    def num_directions(self) -> int:
        """1 or 2."""
        return 1 + self.bidirectional

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        *,
        lengths: Sequence[int] | Tensor | None = None,
    ) -> tuple[Any, Any]:
        """Run over a sequence.

        Args:
            input: (time, batch, input_size), (batch, time, input_size) with `batch_first`, (time, input_size), or a
                `PackedSequence`.
            hx: The initial state, (layers * directions, batch, features), without the batch axis for an input without;
                a tuple of one per state for a step with several; zeros by default.
            lengths: Of the samples of a padded batch; what stands behind the end of a sample counts nowhere.

        Returns:
            The outputs of the last layer, laid out like the input, and the final states, laid out like `hx`.

        Raises:
            TypeError: `input` is no tensor and no packed sequence.
            ValueError: A shape, dtype or device does not fit.
        """
        first = self.step_of(0, 0)
        check_input(input, self.input_size, next(first.parameters()))
        sequence, layout = Layout.read(input, self.batch_first, lengths_of(lengths, input, self.batch_first))
        check_steps(sequence)
        initial = initial_states(hx, first.state_sizes, self.num_layers * self.num_directions, sequence, layout)
        final: list[Named] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                sequence = layout.dropped(sequence, self.dropout)
            outputs = []
            for direction in range(self.num_directions):
                start = {name: states[len(final)] for name, states in initial.items()}
                reading = Reading(bool(direction), layout.lengths)
                output, last = self._run(self.step_of(layer, direction), sequence, start, reading)
                outputs.append(output)
                final.append(last)
            sequence = torch.cat(outputs, dim=-1)
        stacked = tuple(layout.state_out(torch.stack([one[name] for one in final])) for name in first.states)
        return layout.written(sequence), stacked if len(stacked) > 1 else stacked[0]

    def step_of(self, layer: int, direction: int) -> Step:
        """The module that takes the steps of one layer and direction."""
        found = self.get_submodule(self._name(layer, direction))
        assert isinstance(found, Step)
        return found

    def _run(self, step: Step, sequence: Tensor, start: Named, reading: Reading) -> tuple[Tensor, Named]:
        states, outputs = tuple(start.values()), []
        running = reading.running(len(sequence))
        for index, x in enumerate(reading.order(sequence).unbind(0)):
            new = step(x, *states)
            new = (new,) if isinstance(new, Tensor) else new
            if running is not None:
                new = tuple(
                    torch.where(running[index].unsqueeze(-1), one, before)
                    for one, before in zip(new, states, strict=True)
                )
            states = new
            by_name = dict(zip(step.states, states, strict=True))
            outputs.append(torch.cat([by_name[name] for name in self.put_out], dim=-1))
        return reading.order(torch.stack(outputs)), by_name

    @staticmethod
    def _name(layer: int, direction: int) -> str:
        return Stacked.suffix(layer, direction).removeprefix("_")


class ResetBeforeGRU(Stepwise):
    """A GRU as first published, reset before the product. See `cells.ResetBeforeGRU` and `Stepwise`."""

    of = cells.ResetBeforeGRU


class SCRN(Stepwise):
    """Slow units beside fast ones, both put out: `slow_size`, `alpha`. See `cells.SCRN` and `Stepwise`."""

    of = cells.SCRN
    put_out = ("h", "s")


def _check_keywords(of_step: dict[str, Any], step: type[Step]) -> None:
    own = {
        name
        for name, parameter in inspect.signature(step).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    if unknown := sorted(of_step.keys() - own):
        raise TypeError(f"{', '.join(unknown)}: {step.__name__} takes no such argument; it takes {sorted(own)}")
