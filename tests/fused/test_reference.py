"""The reference executor against `unroll`, sample by sample and piece by piece."""

from typing import Any

import pytest
import torch
from torch import Tensor

from throughtime.cells import ALL_CELLS, Cell, Named
from throughtime.fused import Run, run
from throughtime.unroll import Weights, unroll

STEPS, BATCH, INPUT, HIDDEN = 7, 3, 4, 6


class Drawn:
    """A cell with weights, inputs and initial states."""

    def __init__(self, cell: Cell) -> None:
        generator = torch.Generator().manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, dtype=torch.float64)

        self.cell, self.inputs = cell, draw(STEPS, BATCH, INPUT * cell.window)
        drawn = {name: draw(*shape) for name, shape in cell.weight_shapes(INPUT, HIDDEN).items()}
        self.weights = Weights.of(cell.made(drawn))
        self.initial = {name: draw(BATCH, HIDDEN) for name in cell.states}

    def run(self, **keywords: Any) -> Run:
        named = self.weights.named()
        return run(self.cell, self.inputs, named, self.initial, by="reference", **keywords)

    def unrolled(self, inputs: Tensor, initial: Named) -> Named:
        """The states of all steps, in the order in which the inputs are given."""
        return {n: states[1:] for n, states in unroll(self.cell, self.weights, inputs, initial).states.items()}


@pytest.fixture(params=ALL_CELLS, ids=repr)
def drawn(request: Any) -> Drawn:
    return Drawn(request.param)


@pytest.mark.parametrize("reverse", [False, True])
def test_whole_sequences(drawn: Drawn, reverse: bool) -> None:
    found = drawn.run(reverse=reverse)
    expected = drawn.unrolled(drawn.inputs.flip(0) if reverse else drawn.inputs, drawn.initial)
    for name, states in expected.items():
        torch.testing.assert_close(found.steps[name], states.flip(0) if reverse else states)
        torch.testing.assert_close(found.last[name], states[-1])


@pytest.mark.parametrize("reverse", [False, True])
def test_samples_that_end_earlier(drawn: Drawn, reverse: bool) -> None:
    lengths = torch.tensor([3, 7, 1])
    found = drawn.run(lengths=lengths, reverse=reverse)
    for sample, length in enumerate(lengths.tolist()):
        one = slice(sample, sample + 1)
        own = drawn.inputs[:length, one]
        initial = {name: state[one] for name, state in drawn.initial.items()}
        for name, states in drawn.unrolled(own.flip(0) if reverse else own, initial).items():
            torch.testing.assert_close(found.steps[name][:length, one], states.flip(0) if reverse else states)
            torch.testing.assert_close(found.last[name][one], states[-1])
            assert (found.steps[name][length:, one] == 0).all()


def test_resets_start_from_zeros(drawn: Drawn) -> None:
    resets = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    resets[4] = True
    found = drawn.run(resets=resets)
    zeros = {name: torch.zeros_like(state) for name, state in drawn.initial.items()}
    pieces = (drawn.unrolled(drawn.inputs[:4], drawn.initial), drawn.unrolled(drawn.inputs[4:], zeros))
    for name, states in found.steps.items():
        torch.testing.assert_close(states, torch.cat([piece[name] for piece in pieces]))
