"""Singular values of ds_t/ds_{t-k}: closed forms, and naive products of autograd's Jacobians."""

import math

import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime import cells
from throughtime.adjoint import Pushforward
from throughtime.measures import ln_singular_values, singular_values, transfer
from throughtime.unroll import Weights, unroll


class Linear(tt.Cell):
    """h_t = x_t + W h_{t-1}."""

    gates = ("h",)

    def step(self, x, u, h):
        return tt.Update(keep=0, write=1, candidate=x.h + u.h)


def of(cell, weight, steps, inputs=None, batch=1):
    rows, hidden = weight.shape
    weights = Weights(torch.ones(rows, 1, dtype=weight.dtype), weight)
    inputs = torch.zeros(steps, batch, 1, dtype=weight.dtype) if inputs is None else inputs
    start = {state: torch.randn(batch, hidden, dtype=weight.dtype) for state in cell.states}
    return weights, unroll(cell, weights, inputs, start)


class Sigmoid(tt.Cell):
    """h_t = sigmoid(x_t + W h_{t-1})."""

    gates = ("h",)

    def step(self, x, u, h):
        return tt.Update(keep=0, write=1, candidate=tt.sigmoid(x.h + u.h))


def test_an_orthogonal_linear_network_keeps_every_singular_value():
    """Fact 2: every singular value of dh_t/dh_k is 1, to 1e-13 over 1000 steps at N = 100."""
    torch.manual_seed(0)
    weight = nn.init.orthogonal_(torch.empty(100, 100, dtype=torch.float64))
    weights, trajectory = of(Linear(), weight, 1000)
    jacobians = Pushforward(Linear(), weights, trajectory).jacobians()
    found = ln_singular_values(jacobians, [1, 1000])
    # The published 1e-13 is of a product; ours has been rescaled at every step besides.
    assert found.abs().max() < 2e-13
    assert transfer([1, 1000], found).stable_rank.tolist() == pytest.approx([100, 100], rel=1e-12)


def test_an_orthogonal_tanh_network_shrinks_everything():
    """Fact 3: orthogonal W, tanh: the largest singular value is at most 1 and falls strictly with the lag."""
    torch.manual_seed(0)
    weight = nn.init.orthogonal_(torch.empty(20, 20, dtype=torch.float64))
    weights, trajectory = of(cells.RNN(), weight, 64, torch.randn(64, 1, 1, dtype=torch.float64))
    found = singular_values(cells.RNN(), weights, trajectory)
    largest = found.ln_values[:, 0]
    assert largest[0] < 0
    assert (largest.diff() < 0).all()


def test_no_small_sigmoid_network_passes_a_gradient_on():
    """Fact 4: sigmoid, max |w| < 4/n: every step shrinks (Hochreiter et al. 2001); no random search finds another."""

    torch.manual_seed(0)
    for size in (2, 3, 5, 9, 17):
        for _ in range(20):
            # Rows of equal signs are the worst case: the norm of the matrix of ones is n.
            weight = (torch.rand(size, size, dtype=torch.float64) * 2 - torch.rand(1).double() * 2).clamp(-1, 1)
            weights, trajectory = of(Sigmoid(), weight * (4 / size) * 0.999, 8)
            assert singular_values(Sigmoid(), weights, trajectory).ln_values[:, 0].max() < 0


@pytest.mark.parametrize(("cell", "gamma"), [(cells.RNN(), 1.0), (cells.RNN("relu"), 1.0), (Sigmoid(), 0.25)])
def test_a_singular_value_below_one_suffices_for_vanishing(cell, gamma):
    """Fact 5: sigma_max(W_hh) < 1/gamma vanishes at least that fast (Pascanu, Mikolov, Bengio 2013)."""
    for seed in range(10):
        torch.manual_seed(seed)
        weight = torch.randn(6, 6, dtype=torch.float64)
        weight *= 0.95 / gamma / torch.linalg.matrix_norm(weight, 2)
        weights, trajectory = of(cell, weight, 64, torch.randn(64, 1, 1, dtype=torch.float64))
        found = singular_values(cell, weights, trajectory)
        assert (found.ln_values[:, 0] <= found.lags.double() * math.log(0.95) + 1e-12).all()


def test_a_singular_value_above_one_is_not_enough_to_explode():
    """Fact 5: sigma_max(W_hh) > 1 is only necessary for exploding: here it is 8, and the product vanishes."""
    weight = torch.tensor([[0.5, 8.0], [0.0, 0.5]], dtype=torch.float64)
    assert torch.linalg.matrix_norm(weight, 2) > 8
    weights, trajectory = of(Linear(), weight, 40)
    jacobians = Pushforward(Linear(), weights, trajectory).jacobians()
    norms = ln_singular_values(jacobians, range(1, 41))[:, 0, 0].exp()
    assert (norms[8:] < 1).all() and norms[-1] < 1e-8
    assert (norms[8:] > 1e-20).all()


def test_the_spectral_radius_does_not_decide():
    """Fact 6: W = [[.9, 5], [0, .9]]: the norm of W^k peaks at 19.379 at k = 9 and is first below 1 at k = 55."""
    weight = torch.tensor([[0.9, 5.0], [0.0, 0.9]], dtype=torch.float64)
    weights, trajectory = of(Linear(), weight, 60)
    jacobians = Pushforward(Linear(), weights, trajectory).jacobians()
    norms = ln_singular_values(jacobians, range(1, 61))[:, 0, 0].exp()
    assert norms.argmax().item() + 1 == 9
    assert norms.max().item() == pytest.approx(19.379, abs=5e-4)
    assert (norms < 1).nonzero()[0].item() + 1 == 55


def test_a_gru_against_a_naive_product():
    """dh_{t+k}/dh_t of nn.GRU itself, by autograd, from every window that was looked at."""
    torch.manual_seed(0)
    gru = nn.GRU(1, 5).double()
    inputs = torch.randn(8, 3, 1, dtype=torch.float64)
    states = torch.cat([torch.zeros(1, 3, 5).double(), gru(inputs)[0].detach()])
    named = {name.removesuffix("_l0"): value.detach() for name, value in gru.named_parameters()}
    trajectory = unroll(cells.GRU(), Weights(**named), inputs, {"h": states[0]})
    found = singular_values(cells.GRU(), Weights(**named), trajectory)
    assert found.lags.tolist() == [1, 2, 4, 8]
    for row, lag in enumerate(found.lags.tolist()):
        # With 8 steps there is one start.
        values = [
            torch.linalg.svdvals(
                torch.autograd.functional.jacobian(
                    lambda h, s=sample, k=lag: gru(inputs[:k, [s]], h.view(1, 1, 5))[1].flatten(), states[0, sample]
                )
            )
            for sample in range(2)
        ]
        expected = torch.stack(values).log().mean(0)
        torch.testing.assert_close(found.ln_values[row], expected, rtol=1e-8, atol=1e-8)
        ranks = [(value.square().sum() / value[0] ** 2).item() for value in values]
        assert found.stable_rank[row].item() == pytest.approx(sum(ranks) / 2, rel=1e-9)


def test_what_rounding_hides_is_not_shown():
    """diag(1, 1e-3) to the 8th power: 1e-24 beside 1 cannot be told from 0; a zero can."""
    weights, trajectory = of(Linear(), torch.diag(torch.tensor([1.0, 1e-3, 0.0], dtype=torch.float64)), 8)
    found = singular_values(Linear(), weights, trajectory)
    assert found.ln_values[0].tolist() == pytest.approx([0, math.log(1e-3), -math.inf])
    assert found.ln_values[-1].tolist() == pytest.approx([0, math.nan, -math.inf], nan_ok=True)


def test_a_dead_network_has_nothing_left():
    weights, trajectory = of(Linear(), torch.zeros(3, 3, dtype=torch.float64), 4)
    found = singular_values(Linear(), weights, trajectory)
    assert found.ln_values.max() == -math.inf
    assert found.stable_rank.tolist() == [0, 0, 0]


@pytest.mark.parametrize(("hidden", "lags"), [(4, 7), (128, 6), (400, 4)])
def test_the_work_is_bounded(hidden, lags, monkeypatch):
    monkeypatch.setattr(torch.linalg, "svdvals", lambda matrix: matrix[..., 0].abs())
    weights, trajectory = of(cells.RNN(), torch.randn(hidden, hidden) / hidden**0.5, 100, batch=3)
    assert len(singular_values(cells.RNN(), weights, trajectory).lags) == lags
