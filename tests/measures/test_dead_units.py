"""Units that are silent whatever comes in: by their biases alone, and against the gradients that they get."""

import pytest
import torch
from test_gates import unrolled
from torch import nn

from throughtime import cells
from throughtime.cells import derive
from throughtime.measures import dead_units


def relu(hidden, bias, recurrent=0.0):
    rnn = nn.RNN(2, hidden, nonlinearity="relu").double()
    with torch.no_grad():
        rnn.weight_hh_l0.mul_(recurrent)
        rnn.bias_hh_l0.zero_()
        rnn.bias_ih_l0.copy_(bias)
    return rnn


def test_by_the_biases_alone():
    rnn = relu(4, torch.tensor([-1.0, -1.0, -1.0, 1.0]))
    with torch.no_grad():
        rnn.weight_ih_l0.zero_()
    trajectory = unrolled(cells.RNN("relu"), rnn, torch.randn(5, 2, 2).double())
    assert dead_units(cells.RNN("relu"), trajectory) == {"h": 0.75}


def test_a_dead_unit_is_one_whose_bias_gets_no_gradient():
    torch.manual_seed(0)
    rnn, inputs = relu(40, -1 + torch.randn(40).double()), torch.randn(6, 3, 2, dtype=torch.float64)
    rnn(inputs)[0].sum().backward()
    dead = (rnn.bias_ih_l0.grad == 0).double().mean().item()
    assert 0.2 < dead < 0.9
    found = dead_units(cells.RNN("relu"), unrolled(cells.RNN("relu"), rnn, inputs))
    assert found == {"h": pytest.approx(dead, rel=1e-12)}


def test_only_where_a_sample_is_read():
    rnn = relu(1, torch.tensor([-1.0]))
    with torch.no_grad():
        rnn.weight_ih_l0.fill_(1.0)
    inputs = torch.zeros(4, 1, 2, dtype=torch.float64)
    inputs[-1] = 5.0
    trajectory = unrolled(cells.RNN("relu"), rnn, inputs)
    assert dead_units(cells.RNN("relu"), trajectory) == {"h": 0}
    running = torch.tensor([[True], [True], [True], [False]])
    resting = type(trajectory)(**{**vars(trajectory), "running": running})
    assert dead_units(cells.RNN("relu"), resting) == {"h": 1}


@pytest.mark.parametrize(("cell", "flat"), [(cells.GRU(), []), (cells.RNN(), []), (cells.LiGRU(), ["n"])])
def test_only_relus_can_die(cell, flat):
    assert [gate for gate, one in derive(cell).activations.items() if one.flat] == flat
    assert derive(cells.GRU()).candidate_gates == ("n",)
    assert derive(cells.LRU()).candidate_gates == ()


def test_however_saturated_a_tanh_is_not_dead():
    rnn = nn.RNN(2, 3)
    with torch.no_grad():
        rnn.bias_ih_l0.fill_(500.0)
    assert dead_units(cells.RNN(), unrolled(cells.RNN(), rnn, torch.randn(4, 2, 2))) == {}
