"""What the weight terms would add up to without any slope, against the sum written out."""

import pytest
import torch

from throughtime.adjoint import AtOneStep, Pullback, sweep
from throughtime.cells import GRU, LSTM, RNN
from throughtime.measures import Film, GradientMap, Reels, unslowed
from throughtime.unroll import Recurrent, unroll

STEPS, BATCH, HIDDEN = 9, 3, 4


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("cell", [RNN(), GRU(), LSTM()], ids=repr)
@torch.no_grad()
def test_is_the_sum_where_samples_are_alike_and_no_less_where_they_are_not(cell, alike):
    torch.manual_seed(0)
    layer = Recurrent(cell, 2, HIDDEN, dtype=torch.float64)
    inputs, direct = torch.randn(STEPS, BATCH, 2 + HIDDEN, dtype=torch.float64).split([2, HIDDEN], dim=-1)
    if alike:
        inputs, direct = (values[:, :1].expand(-1, BATCH, -1) for values in (inputs, direct))
    initial = {state: torch.zeros(BATCH, HIDDEN, dtype=torch.float64) for state in cell.states}
    weights = layer.weights(0, 0)
    pullback = Pullback(cell, weights, unroll(cell, weights, inputs, initial))
    labels = torch.arange(1, STEPS + 1)
    film = Film(cell.states, STEPS, BATCH, labels, labels, causal=True)
    found, expected = GradientMap(film), 0.0
    reels = Reels(film, [found])
    states = pullback.trajectory.states["h"]
    for frame in sweep(pullback, [AtOneStep(direct, labels)], STEPS, torch.zeros_like(labels)):
        reels.update(frame)
        if frame.step:
            multiplied = (states[frame.step - 1].square().sum(-1) + inputs[frame.step - 1].square().sum(-1) + 1).sqrt()
            # Of several states, the whole adjoint.
            adjoint = torch.stack([one.exp() for one in frame.ln_square.values()]).sum(0).sqrt()
            expected += float((adjoint * multiplied).sum())
    reels.finish()
    bound = unslowed(film, found.result(), pullback)
    if alike:
        assert bound == pytest.approx(expected, rel=1e-12)
    else:
        assert expected < bound < 1.5 * expected
