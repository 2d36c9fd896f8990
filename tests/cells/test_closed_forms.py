"""Closed forms and published values of single cells; each says where it comes from."""

import pytest
import torch
from torch import Tensor

from throughtime.cells import GRU, RNN, Cell, MinGRU, MinLSTM, derive


def scalar(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


@pytest.mark.parametrize("w_hn", [-1.0, 0.0, 2.0, 3.5])
def test_gru_of_one_unit_at_rest(w_hn: float) -> None:
    """Fact 13: with zero biases dh'/dh = 1/2 + w_hn/4 at h = 0, so the origin loses its stability at w_hn = 2."""
    cell, zeros = GRU(), torch.zeros(3, dtype=torch.float64)
    update = derive(cell).evaluate_update(cell.split(zeros), cell.split(zeros), scalar(0), scalar(0))
    weights = dict(zip(cell.gates, (1.7, -0.4, w_hn), strict=True))
    slope = update.carried + sum(weights[gate] * coefficient for gate, coefficient in update.recurrent.items())
    assert slope.item() == pytest.approx(0.5 + w_hn / 4, rel=1e-15)


def test_irnn_jacobian_is_diag_of_the_active_units() -> None:
    """Fact 14: ReLU with W_hh = I (Le, Jaitly, Hinton 2015): the Jacobian is diag(a > 0)."""
    cell, a = RNN("relu"), torch.tensor([-2.0, -1e-300, 0.0, 1e-300, 2.0], dtype=torch.float64)
    update = derive(cell).evaluate_update(cell.split(a), cell.split(torch.zeros_like(a)), a, a)
    assert update.carried is None
    assert update.recurrent["h"].tolist() == [0, 0, 0, 1, 1]


def test_latch() -> None:
    """Fact 7: a tanh unit with w = 1.25 rests at 0.7104, where its slope is 0.6191 (Bengio, Simard, Frasconi 1994)."""
    cell, w, x = RNN(), 1.25, scalar(1)
    for _ in range(200):
        x, _ = cell.reference_step(scalar(0), w * x, x)
    update = derive(cell).evaluate_update(cell.split(scalar(0)), cell.split(w * x), x, x)
    assert x.item() == pytest.approx(0.7104, abs=5e-5)
    assert w * update.recurrent["h"].item() == pytest.approx(0.6191, abs=5e-5)


@pytest.mark.parametrize(("u", "flips"), [(-0.0777, False), (-0.0779, True)])
def test_the_smallest_input_that_flips_a_latch(u: float, flips: bool) -> None:
    """Fact 7: of a tanh unit with w = 1.25 it is 0.0778, where w (1 - x^2) = 1 (Bengio, Simard, Frasconi 1994)."""
    cell, x = RNN(), scalar(1)
    for _ in range(1000):
        x, _ = cell.reference_step(scalar(u), 1.25 * x, x)
    assert (x.item() < 0) == flips


@pytest.mark.parametrize("cell", [MinGRU(), MinLSTM()], ids=repr)
def test_a_cell_whose_gates_see_no_state_passes_a_product_of_gates(cell: Cell) -> None:
    """Fact 15: dh_T/dh_0 is the diagonal product of 1 - z, resp. of f / (f + i), never above 1 (Feng et al. 2024)."""
    torch.manual_seed(0)
    x = torch.randn(6, 3 * len(cell.gates), dtype=torch.float64)
    start = torch.randn(3, dtype=torch.float64, requires_grad=True)
    h = start
    for pre in x:
        h, _ = cell.reference_step(pre, pre[:0], h)
    jacobian = torch.stack([torch.autograd.grad(one, start, retain_graph=True)[0] for one in h])
    z_or_f, i = (part.sigmoid() for part in x.chunk(len(cell.gates), -1)[:2])
    kept = 1 - z_or_f if isinstance(cell, MinGRU) else z_or_f / (z_or_f + i)
    torch.testing.assert_close(jacobian, torch.diag(kept.prod(0)), rtol=1e-12, atol=0)
    assert (kept <= 1).all()
