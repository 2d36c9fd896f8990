"""Recurrent layers with the interface of `torch.nn`'s, for any cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from throughtime.cells import Cell, Named
from throughtime.fused import Run, executor, run, torchs_own
from throughtime.unroll.arguments import check_input, check_steps, initial_states, lengths_of, resets_of
from throughtime.unroll.parameters import Stacked
from throughtime.unroll.sequences import Layout, Reading


class Recurrent(Stacked):
    """A cell over a sequence: stacked, in both directions, with the interface of `torch.nn.RNN`.

    Its arguments and weights are those of `Stacked`, and `backend`.
    """

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any = None,
        *,
        lengths: Sequence[int] | Tensor | None = None,
        reset_mask: Tensor | None = None,
        return_all_states: bool = False,
    ) -> tuple[Any, ...]:
        """Run over a sequence.

        Args:
            input: (time, batch, input_size), (batch, time, input_size) with `batch_first`, (time, input_size), or a
                `PackedSequence`.
            hx: The initial state, (layers * directions, batch, features), without the batch axis for an input without;
                a tuple of one per state for a cell with several; zeros by default. Features are `hidden_size`, of the
                h of a layer with `proj_size` that.
            lengths: Of the samples of a padded batch, whole numbers (batch). What stands behind the end of a sample
                counts nowhere; the output there is zero, and final states are those at the end of every sample.
            reset_mask: Booleans (time, batch), laid out like the input: true at the first step of every new sequence
                where one follows another within a sample. That step starts from zeros, as a layer without `hx` does,
                also where it is the first of all; the reverse direction passes nothing over the border either.
            return_all_states: Whether to return the states after every step too.

        Returns:
            The hidden states of the last layer, laid out like the input, and the final states, laid out like `hx`. With
            `return_all_states` also the states of all layers and directions after every step, in the order of the
            sequence: (layers * directions, time, batch, features), (layers * directions, batch, time, features) with
            `batch_first`, padded where the input was packed; a tuple of one per state for a cell with several.

        Raises:
            TypeError: `input` is no tensor and no packed sequence.
            ValueError: A shape, dtype or device does not fit.
        """
        run = self._read
        if torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting():
            # Compiled along, every step would be a part of the graph, anew for every length.
            run = torch.compiler.disable(run)
        return run(input, hx, lengths, reset_mask, return_all_states)

    def _read(
        self,
        input: Tensor | PackedSequence,
        hx: Any,
        lengths: Sequence[int] | Tensor | None,
        reset_mask: Tensor | None,
        return_all_states: bool,
    ) -> tuple[Any, ...]:
        """What `forward` does."""
        check_input(input, self.input_size, self.weights(0, 0).weight_ih)
        sequence, layout = Layout.read(input, self.batch_first, lengths_of(lengths, input, self.batch_first))
        check_steps(sequence)
        resets = resets_of(reset_mask, sequence, layout)
        initial = initial_states(hx, self.state_sizes, self.num_layers * self.num_directions, sequence, layout)
        plain = layout.lengths is None and resets is None and not return_all_states
        runs: list[Run] = []
        for layer in range(self.num_layers):
            if layer and self.dropout and self.training:
                sequence = layout.dropped(sequence, self.dropout)
            for direction in range(self.num_directions):
                reading = Reading(bool(direction), layout.lengths, resets)
                start = {name: states[len(runs)] for name, states in initial.items()}
                read = reading.windowed(sequence, self.cell.window)
                runs.append(self._run(layer, direction, read, start, reading, plain))
            hidden = [one.steps["h"] for one in runs[-self.num_directions :]]
            sequence = torch.cat(hidden, dim=-1) if self.bidirectional else hidden[0]
        output = layout.written(sequence)
        last = self._stacked([one.last for one in runs], layout.state_out)
        if return_all_states:
            return output, last, self._stacked([one.steps for one in runs], layout.every_state)
        return output, last

    def step(self, input: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step, for input that arrives step by step: the same as the layer on the whole sequence.

        Args:
            input: x_t, (batch, input_size) or (input_size).
            state: What the step before returned; `initial_state` by default.

        Returns:
            The hidden state of the last layer, (batch, features) or (features), and the state to go on from.

        Raises:
            ValueError: The layer is bidirectional, its cell sees several inputs at once, or a shape does not fit.
        """
        if self.bidirectional:
            raise ValueError(
                "step: a bidirectional layer reads the sequence from its end too, and cannot begin before it is there; "
                "use bidirectional=False, or call the layer on whole sequences"
            )
        if self.cell.window > 1:
            raise ValueError(
                f"step: {self.cell!r} sees {self.cell.window} inputs at once, and a step has one; call the layer on "
                "whole sequences"
            )
        if input.dim() not in (1, 2) or input.shape[-1] != self.input_size:
            one = f"(batch, {self.input_size}) or ({self.input_size},)"
            raise ValueError(f"input: expected a single step {one}, found {tuple(input.shape)}")
        time = 1 if self.batch_first and input.dim() == 2 else 0
        output, last = self(input.unsqueeze(time), state)
        return output.squeeze(time), last

    def initial_state(self, batch_size: int | None = None) -> Any:
        """The state that a layer starts from without `hx`: zeros, laid out like it, with the weights' dtype and device.

        Args:
            batch_size: Samples; None for input without a batch axis.
        """
        batch = () if batch_size is None else (batch_size,)
        recurrences = self.num_layers * self.num_directions
        like = self.weights(0, 0).weight_ih
        states = (like.new_zeros(recurrences, *batch, size) for size in self.state_sizes.values())
        return _alone_or_all(tuple(states))

    def _run(self, layer: int, direction: int, sequence: Tensor, start: Named, reading: Reading, plain: bool) -> Run:
        """One layer and direction, by the executor that was asked for."""
        named = self.weights(layer, direction).named()
        if "weight_hr" in named:
            self._ran = "reference"
            return run_as_read(self.cell, sequence, named, start, reading, "reference")
        self._ran = by = executor(self.cell, sequence, self._choice, plain, named, start)
        if by == "torch":
            training = torch.is_grad_enabled()
            return torchs_own(self.cell, sequence, named, start, reverse=reading.reverse, training=training)
        return run_as_read(self.cell, sequence, named, start, reading, by)

    def _stacked(self, states: Sequence[Named], laid_out: Callable[[Tensor], Tensor]) -> Any:
        """The states of all layers and directions, as the caller expects them."""
        together = (torch.stack([one[name] for one in states]) for name in self.cell.states)
        return _alone_or_all(tuple(laid_out(state) for state in together))


def run_as_read(
    cell: Cell, sequence: Tensor, weights: Named, start: Named, reading: Reading, by: Literal["reference", "fused"]
) -> Run:
    """What `fused.run` does, in an order of reading."""
    lengths, resets, reverse = reading.lengths, reading.starts(), reading.reverse
    return run(cell, sequence, weights, start, lengths=lengths, resets=resets, reverse=reverse, by=by)


def _alone_or_all(states: tuple[Tensor, ...]) -> Any:
    """As torch hands out states: a single one by itself, several as a tuple."""
    return states if len(states) > 1 else states[0]
