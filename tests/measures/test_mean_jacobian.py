"""The mean step Jacobian: fixed and scalar ones in closed form, and those of a GRU by torch.func."""

import math

import numpy as np
import pytest
import torch
from test_gates import unrolled
from torch import nn
from torch.func import jacrev, vmap

import throughtime as tt
from throughtime import cells
from throughtime.measures import mean_jacobian
from throughtime.unroll import Weights, unroll


class Linear(tt.Cell):
    """h_t = x_t + W h_{t-1}: every step Jacobian is W."""

    gates = ("h",)

    def step(self, x, u, h):
        return tt.Update(keep=0, write=1, candidate=x.h + u.h)


class Driven(tt.Cell):
    """h_t = x_t h_{t-1}: every step Jacobian is the input."""

    gates = ("keep",)
    enters = "none"

    def step(self, x, u, h):
        return tt.Update(keep=x.keep, write=0, candidate=0)


@pytest.mark.parametrize(
    ("weight", "radius", "norm"),
    [
        ([[0.9, 5.0], [0.0, 0.9]], 0.9, np.linalg.norm([[0.9, 5.0], [0.0, 0.9]], 2)),
        ([[0.0, -0.5], [0.5, 0.0]], 0.5, 0.5),
    ],
)
def test_of_a_fixed_matrix(weight, radius, norm):
    weights = Weights(torch.eye(2, dtype=torch.float64), torch.tensor(weight, dtype=torch.float64))
    inputs, start = torch.randn(9, 3, 2, dtype=torch.float64), {"h": torch.zeros(3, 2, dtype=torch.float64)}
    found = mean_jacobian(Linear(), weights, unroll(Linear(), weights, inputs, start))
    assert found.eigenvalue == pytest.approx(math.log(radius), abs=1e-7)
    assert found.non_normality == pytest.approx(math.log(norm / radius), abs=1e-7)
    assert (found.drift, found.fluctuation) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))


def test_of_scalars():
    """Two samples of 1, 3 | 4, 8 and of 3, 1 | 8, 4: means 2 and 6, squares 5 and 40."""
    weights = Weights(torch.ones(1, 1, dtype=torch.float64))
    inputs = torch.tensor([[1.0, 3.0], [3.0, 1.0], [4.0, 8.0], [8.0, 4.0]], dtype=torch.float64).unsqueeze(-1)
    trajectory = unroll(Driven(), weights, inputs, {"h": torch.ones(2, 1, dtype=torch.float64)})
    found = mean_jacobian(Driven(), weights, trajectory)
    assert found.eigenvalue == pytest.approx(math.log(4), rel=1e-12)
    assert found.non_normality == pytest.approx(0, abs=1e-12)
    assert found.drift == pytest.approx(math.log(3), rel=1e-12)
    assert found.fluctuation == pytest.approx(math.log(22.5 / 20) / 2, rel=1e-12)


def test_of_a_gru_by_torch_func():
    torch.manual_seed(0)
    gru, inputs = nn.GRU(2, 5).double(), torch.randn(10, 2, 2, dtype=torch.float64)
    hidden = torch.cat([torch.zeros(1, 2, 5).double(), gru(inputs)[0][:-1].detach()])

    def step(h, x):
        xr, xz, xn = (x @ gru.weight_ih_l0.T + gru.bias_ih_l0).chunk(3, -1)
        hr, hz, hn = (h @ gru.weight_hh_l0.T + gru.bias_hh_l0).chunk(3, -1)
        z = torch.sigmoid(xz + hz)
        return z * h + (1 - z) * torch.tanh(xn + torch.sigmoid(xr + hr) * hn)

    jacobians = vmap(vmap(jacrev(step)))(hidden, inputs).detach().numpy()
    mean, halves = jacobians.mean((0, 1)), [part.mean((0, 1)) for part in (jacobians[:5], jacobians[5:])]
    radius = np.abs(np.linalg.eigvals(mean)).max()
    norms = [np.linalg.norm(one) for one in halves]
    square = np.square(jacobians).sum((2, 3)).mean()
    weights = Weights(**{name.removesuffix("_l0"): value.detach() for name, value in gru.named_parameters()})
    found = mean_jacobian(cells.GRU(), weights, unrolled(cells.GRU(), gru, inputs))
    assert found.eigenvalue == pytest.approx(math.log(radius), rel=1e-9)
    assert found.non_normality == pytest.approx(math.log(np.linalg.norm(mean, 2) / radius), rel=1e-9)
    assert found.drift == pytest.approx(math.log(norms[1] / norms[0]), rel=1e-9)
    assert found.fluctuation == pytest.approx(math.log(square / np.square(norms).mean()) / 2, rel=1e-9)


def test_of_one_step_there_are_no_halves():
    weights = Weights(torch.ones(1, 1), torch.full((1, 1), 0.5))
    trajectory = unroll(Linear(), weights, torch.ones(1, 2, 1), {"h": torch.zeros(2, 1)})
    found = mean_jacobian(Linear(), weights, trajectory)
    assert found.eigenvalue == pytest.approx(math.log(0.5), rel=1e-6)
    assert math.isnan(found.drift) and found.fluctuation == pytest.approx(0, abs=1e-6)
