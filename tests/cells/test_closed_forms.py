"""Closed forms and published values of single cells; each says where it comes from."""

import pytest
import torch
from torch import Tensor

from throughtime.cells import GRU, RNN, derive


def scalar(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


@pytest.mark.parametrize("w_hn", [-1.0, 0.0, 2.0, 3.5])
def test_gru_of_one_unit_at_rest(w_hn: float) -> None:
    """With zero biases dh'/dh = 1/2 + w_hn/4 at h = 0, so the origin loses its stability at w_hn = 2."""
    cell, zeros = GRU(), torch.zeros(3, dtype=torch.float64)
    update = derive(cell).evaluate_update(cell.split(zeros), cell.split(zeros), scalar(0), scalar(0))
    weights = dict(zip(cell.gates, (1.7, -0.4, w_hn), strict=True))
    slope = update.carried + sum(weights[gate] * coefficient for gate, coefficient in update.recurrent.items())
    assert slope.item() == pytest.approx(0.5 + w_hn / 4, rel=1e-15)


def test_irnn_jacobian_is_diag_of_the_active_units() -> None:
    """ReLU with W_hh = I (Le, Jaitly, Hinton 2015)."""
    cell, a = RNN("relu"), torch.tensor([-2.0, -1e-300, 0.0, 1e-300, 2.0], dtype=torch.float64)
    update = derive(cell).evaluate_update(cell.split(a), cell.split(torch.zeros_like(a)), a, a)
    assert update.carried is None
    assert update.recurrent["h"].tolist() == [0, 0, 0, 1, 1]


def test_latch() -> None:
    """A tanh unit with w = 1.25 rests at 0.7104, where its slope is 0.6191 (Bengio, Simard, Frasconi 1994)."""
    cell, w, x = RNN(), 1.25, scalar(1)
    for _ in range(200):
        x, _ = cell.reference_step(scalar(0), w * x, x)
    update = derive(cell).evaluate_update(cell.split(scalar(0)), cell.split(w * x), x, x)
    assert x.item() == pytest.approx(0.7104, abs=5e-5)
    assert w * update.recurrent["h"].item() == pytest.approx(0.6191, abs=5e-5)
