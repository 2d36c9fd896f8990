"""What a layer of ours ran through, traced along the states of its kernel, against the equations step by step."""

from importlib import import_module

import pytest
import torch

from throughtime.capture.modules import Layers
from throughtime.cells import GRU, LRU, LSTM, MGU, RNN, Cell, PeepholeLSTM
from throughtime.unroll import Reading, Recurrent, Weights, unroll

# Pairs of units must be possible.
STEPS, BATCH, FEATURES, HIDDEN = 9, 3, 4, 6
LENGTHS = torch.tensor([9, 4, 7])
CELLS = [RNN(), GRU(), LSTM(), MGU(), PeepholeLSTM(), LRU()]


def resets() -> torch.Tensor:
    found = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    found[3, 0] = found[0, 1] = found[5, 1] = found[6, 2] = True
    return found


@pytest.mark.parametrize("memory", [None, 0])
@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_is_that_of_the_equations(
    cell: Cell, reverse: bool, ragged: bool, anew: bool, memory: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("throughtime.fused.executor"), "WORTH_COMPILING", 0)
    torch.manual_seed(0)
    layer = Recurrent(cell, FEATURES, HIDDEN, dtype=torch.float64)
    weights = Weights.of({name: value.detach() for name, value in layer.weights(0, 0).named().items()})
    inputs = torch.randn(STEPS, BATCH, FEATURES, dtype=torch.float64)
    initial = {state: torch.randn(BATCH, HIDDEN, dtype=torch.float64) for state in cell.states}
    reading = Reading(reverse, LENGTHS if ragged else None, resets() if anew else None)
    layers = Layers(layer, cell)
    assert layers._states(weights, inputs, initial, reading) is not None
    found = layers.run(weights, inputs, initial, reading, memory)
    running, restarts = reading.running(STEPS), reading.restarts()
    expected = unroll(cell, weights, reading.order(inputs), initial, running, restarts)
    for state, values in expected.states.items():
        torch.testing.assert_close(found.states[state], values)
        torch.testing.assert_close(found.before(state), expected.before(state))
    read = torch.ones(STEPS, BATCH, dtype=torch.bool) if running is None else running
    torch.testing.assert_close(found.input_pre[:][read], expected.input_pre[read])
    torch.testing.assert_close(found.recurrent_pre[:][read], expected.recurrent_pre[read])
    assert found.running is running or torch.equal(found.running, running)
    assert found.restarts is restarts or torch.equal(found.restarts, restarts)
