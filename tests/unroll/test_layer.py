"""The layer as a module: any cell, gradients, printing, copying, and what it says to bad input."""

from typing import Any

import pytest
import torch
from torch import nn

from throughtime import cells, unroll
from throughtime.cells import Cell, Update, sigmoid, tanh


class MGU(Cell):
    """The minimal gated unit (Zhou et al. 2016)."""

    gates = ("f", "n")

    def step(self, x: Any, u: Any, h: Any) -> Update:
        f = sigmoid(x.f + u.f)
        return Update(keep=1 - f, write=f, candidate=tanh(x.n + f * u.n))


def layer(cell: Any = MGU, *arguments: Any, **keywords: Any) -> unroll.Recurrent:
    return unroll.Recurrent(cell, *(arguments or (3, 4)), **keywords)


def test_a_cell_of_ones_own_trains() -> None:
    torch.manual_seed(0)
    module, input = layer(MGU, 1, 8, num_layers=2, bidirectional=True), torch.randn(6, 32, 1)
    readout = nn.Linear(16, 1)
    optimiser = torch.optim.Adam([*module.parameters(), *readout.parameters()], lr=0.02)
    losses = []
    for _ in range(60):
        loss = (readout(module(input)[0]) - input.cumsum(0)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("cell", [cells.GRU, cells.GRU(), cells.RNN("relu"), MGU])
def test_a_cell_or_its_class(cell: Any) -> None:
    assert layer(cell).cell == (cell() if isinstance(cell, type) else cell)


def test_initial_weights_are_within_torchs_bound() -> None:
    weights = torch.cat([parameter.flatten() for parameter in layer(MGU, 50, 16).parameters()])
    assert 0.24 < weights.abs().max() <= 0.25


def test_reverse_direction_is_the_layer_on_the_flipped_sequence() -> None:
    both = layer(bidirectional=True)
    backward = layer()
    backward.load_state_dict({name: getattr(both, f"{name}_reverse") for name in backward.state_dict()})
    input = torch.randn(5, 2, 3)
    output, final = both(input)
    expected, expected_final = backward(input.flip(0))
    torch.testing.assert_close(output[..., 4:], expected.flip(0))
    torch.testing.assert_close(final[1:], expected_final)


def test_repr_shows_what_differs_from_the_defaults() -> None:
    assert repr(layer(cells.GRU)) == "Recurrent(GRU(), 3, 4)"
    assert repr(unroll.RNN(3, 4, 2, "relu", batch_first=True)) == (
        "RNN(RNN(nonlinearity='relu'), 3, 4, num_layers=2, batch_first=True)"
    )
    assert repr(unroll.LSTM(3, 4, 2, bias=False, dropout=0.1, bidirectional=True, proj_size=2)) == (
        "LSTM(LSTM(), 3, 4, proj_size=2, num_layers=2, bias=False, dropout=0.1, bidirectional=True)"
    )


def test_device_and_dtype() -> None:
    module = unroll.GRU(3, 4, dtype=torch.bfloat16, device="meta")
    assert {(p.dtype, p.device.type) for p in module.parameters()} == {(torch.bfloat16, "meta")}
    assert unroll.GRU(3, 4).to(torch.float64)(torch.randn(2, 1, 3, dtype=torch.float64))[0].dtype == torch.float64
