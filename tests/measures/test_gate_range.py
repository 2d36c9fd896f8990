"""Between which values gates move: by their biases alone, and against equations written out with autograd."""

import math

import pytest
import torch
from test_gates import unrolled
from torch import nn

import throughtime as tt
from throughtime import cells
from throughtime.measures import gate_range


def test_an_lstm_of_biases_alone():
    lstm = nn.LSTM(2, 3).double()
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.zero_()
        lstm.bias_ih_l0.copy_(torch.tensor([-5.0, 3.0, 2.0, 0.0]).repeat_interleave(3))
    found = gate_range(cells.LSTM(), unrolled(cells.LSTM(), lstm, torch.randn(5, 2, 2).double()))
    write, keep = 1 / (1 + math.exp(5)), 1 / (1 + math.exp(-3))
    assert list(found) == ["keep", "write", "read"]
    assert found["keep"].tolist() == [pytest.approx([keep] * 3, rel=1e-12)] * 2
    assert found["write"].tolist() == [pytest.approx([write] * 3, rel=1e-12)] * 2
    # c grows from step to step, so the slope of tanh(c) is smallest at the last.
    at = [write * math.tanh(2) * (1 - keep**step) / (1 - keep) for step in (5, 1)]
    slopes = [0.5 / math.cosh(c) ** 2 for c in at]
    assert found["read"].tolist() == [pytest.approx([slope] * 3, rel=1e-12) for slope in slopes]


def test_an_lstm_against_its_equations_and_autograd():
    torch.manual_seed(0)
    lstm, inputs = nn.LSTM(2, 4).double(), 2 * torch.randn(7, 3, 2, dtype=torch.float64)
    h = c = torch.zeros(3, 4, dtype=torch.float64)
    keeps, writes, reads = [], [], []
    for x in inputs:
        pre = x @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + h @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
        i, f, g, o = pre.chunk(4, -1)
        c = (f.sigmoid() * c + i.sigmoid() * g.tanh()).detach().requires_grad_()
        h = o.sigmoid() * c.tanh()
        reads.append(torch.autograd.grad(h.sum(), c, retain_graph=True)[0])
        keeps.append(f.sigmoid().detach())
        writes.append(i.sigmoid().detach())
        h = h.detach()
    found = gate_range(cells.LSTM(), unrolled(cells.LSTM(), lstm, inputs))
    for role, values in (("keep", keeps), ("write", writes), ("read", reads)):
        expected = torch.stack(torch.cat(values).aminmax(dim=0))
        torch.testing.assert_close(found[role], expected, rtol=1e-12, atol=0)


def test_only_where_a_sample_is_read():
    torch.manual_seed(0)
    gru, inputs = nn.GRU(2, 3).double(), torch.randn(6, 2, 2, dtype=torch.float64)
    whole = unrolled(cells.GRU(), gru, inputs)
    running = torch.ones(6, 2, dtype=torch.bool)
    running[4:] = False
    resting = type(whole)(**{**vars(whole), "running": running})
    first = unrolled(cells.GRU(), gru, inputs[:4])
    found, expected = gate_range(cells.GRU(), resting), gate_range(cells.GRU(), first)
    assert list(found) == ["keep", "write"]
    assert all(found[role].equal(expected[role]) for role in found)


@pytest.mark.parametrize("layer", [tt.RNN(2, 4), tt.CTRNN(2, 4), tt.AntisymmetricRNN(2, 4), tt.LRU(2, 4)])
def test_constants_are_no_gates(layer):
    exam = tt.examine(layer, torch.randn(5, 2, 2), loss=lambda output, _: output[0].sum((1, 2)))
    assert "gate_range" not in exam["l0"]
