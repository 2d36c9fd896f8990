"""What a cell is: its identity, the gated form, the reference step; and how little a cell of one's own takes."""

from typing import Any

import pytest
import torch

from throughtime.cells import ALL_CELLS, GRU, LSTM, RNN, Cell, Gated, Update, derive, sigmoid, tanh


class Leaky(Cell):
    """A leaky integrator, h_t = (1 - leak) h_{t-1} + leak tanh(a_t), as neuroscientists use it."""

    gates = ("h",)

    def __init__(self, leak: float = 0.1) -> None:
        self.leak = leak

    def step(self, x: Any, u: Any, h: Any) -> Update:
        return Update(keep=1 - self.leak, write=self.leak, candidate=tanh(x.h + u.h))


class MinGRU(Cell):
    """Gates that see the input only (Feng et al. 2024): nothing is multiplied by the recurrent weights."""

    gates = ("z", "n")

    def step(self, x: Any, u: Any, h: Any) -> Update:
        z = sigmoid(x.z)
        return Update(keep=1 - z, write=z, candidate=x.n)


def test_equal_cells_are_one_key() -> None:
    assert RNN("relu") == RNN("relu") != RNN("tanh")
    assert {RNN("relu"): 1}[RNN("relu")] == 1
    assert Leaky(0.1) == Leaky(0.1) != Leaky(0.2)
    assert derive(Leaky(0.1)) is derive(Leaky(0.1)) is not derive(Leaky(0.2))
    assert GRU() != Gated()
    assert len(set(ALL_CELLS)) == len(ALL_CELLS)


def test_repr_is_the_call_that_makes_it() -> None:
    assert [repr(cell) for cell in (RNN("relu"), GRU(), Leaky(0.25))] == [
        "RNN(nonlinearity='relu')",
        "GRU()",
        "Leaky(leak=0.25)",
    ]


def test_gates_and_states() -> None:
    assert GRU.gates == ("r", "z", "n") and LSTM.gates == ("i", "f", "g", "o")
    assert LSTM().carried == "c" and GRU().carried == "h"


def test_split_is_torchs_row_order() -> None:
    parts = GRU().split(torch.arange(6.0))
    assert {gate: part.tolist() for gate, part in parts.items()} == {"r": [0, 1], "z": [2, 3], "n": [4, 5]}


def test_a_gate_of_zero_does_not_turn_an_infinite_state_into_nan() -> None:
    zero, infinite = torch.zeros(1), torch.tensor([torch.inf])
    hidden, carried = RNN().reference_step(zero, zero, infinite)
    assert hidden.item() == 0 and carried is hidden


def test_unknown_nonlinearity() -> None:
    with pytest.raises(ValueError, match=r"nonlinearity: expected one of \['relu', 'tanh'\], found 'gelu'"):
        RNN("gelu")


def test_a_leaky_integrators_paths() -> None:
    cell, a = Leaky(0.25), torch.tensor([0.7], dtype=torch.float64)
    paths = {
        path: evaluate(cell.split(a), cell.split(a), a, a) for path, evaluate in derive(cell).evaluate_paths.items()
    }
    assert list(paths) == ["carry", "candidate"]
    assert paths["carry"].carried.item() == 0.75
    assert paths["candidate"].recurrent["h"].item() == pytest.approx(0.25 / torch.cosh(2 * a).item() ** 2, rel=1e-14)


def test_a_cell_without_recurrent_weights_has_a_diagonal_jacobian_below_one() -> None:
    """Fact: minGRU's Jacobian is diag(1 - z), never above 1."""
    cell, x = MinGRU(), torch.randn(2 * 7, dtype=torch.float64)
    before = torch.randn(7, dtype=torch.float64)
    update = derive(cell).evaluate_update(cell.split(x), cell.split(x), before, before)
    assert update.recurrent == {}
    torch.testing.assert_close(update.carried, 1 - torch.sigmoid(x[:7]), rtol=1e-14, atol=0)
    assert (update.carried < 1).all()


def test_an_output_of_the_old_state_is_refused():
    class Late(Cell):
        gates = ("o",)
        states = ("h", "c")

        def step(self, x, u, c):
            return Update(keep=1, write=1, candidate=x.o, output=lambda new: new * sigmoid(u.o + c))

    with pytest.raises(ValueError, match="depends on the state before the step"):
        derive(Late())
