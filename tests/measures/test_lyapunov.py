"""Lyapunov exponents: closed forms, published values, and naive products of autograd's Jacobians."""

import math

import pytest
import torch
from torch.special import digamma

from naive import step as naive_step
from throughtime import cells
from throughtime.adjoint import Pushforward
from throughtime.measures import spectrum_of
from throughtime.unroll import Weights, unroll


def first(size, count, batch=1):
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(batch, size, count, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(drawn)[0]


def along(cell, weights, steps, batch=2, features=2):
    inputs = torch.randn(steps, batch, features, dtype=torch.float64)
    hidden = weights["weight_hh"].shape[1]
    return unroll(cell, Weights(**weights), inputs, {s: torch.zeros(batch, hidden).double() for s in cell.states})


def drawn(cell, hidden=3, features=2, scale=1.0):
    rows = len(cell.gates) * hidden
    shapes = {"weight_ih": (rows, features), "weight_hh": (rows, hidden), "bias_ih": (rows,), "bias_hh": (rows,)}
    return {name: scale * torch.randn(shape, dtype=torch.float64) for name, shape in shapes.items()}


def test_a_fixed_matrix_has_the_logarithms_of_its_eigenvalues():
    """Fact 8: exponents ln |eig(W)|, exact once the directions have turned to the eigenvectors."""
    torch.manual_seed(0)
    eigenvalues = torch.tensor([1.5, -1.1, 0.7, 0.2], dtype=torch.float64)
    basis = torch.randn(4, 4, dtype=torch.float64)
    weight = basis @ torch.diag(eigenvalues) @ torch.linalg.inv(basis)
    found = spectrum_of([weight.__matmul__] * 400, first(4, 4), transient=300)
    torch.testing.assert_close(found.exponents, eigenvalues.abs().log(), rtol=1e-10, atol=1e-10)
    assert found.error.max() < 1e-10


def test_a_rotation_has_equal_exponents_within_the_error_that_is_told():
    """A complex pair turns for ever: ln |eig| is the mean of rates that come and go."""
    turn = 0.9 * torch.tensor([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]], dtype=torch.float64)
    stretched = torch.tensor([[2.0, 0], [0, 1]], dtype=torch.float64)
    weight = stretched @ turn @ torch.linalg.inv(stretched)
    found = spectrum_of([weight.__matmul__] * 2000, first(2, 2))
    assert (found.exponents - math.log(0.9)).abs().max() < 1e-3
    # The product of both directions, the determinant, grows by the same factor at every step.
    assert found.exponents.sum().item() == pytest.approx(2 * math.log(0.9), rel=1e-12)


def test_fresh_gaussian_matrices():
    """Fact 9: exponent i is ln g + (digamma((N - i + 1)/2) + ln(2/N))/2 (Newman 1986); N = 64, g = 1.3, T = 4000."""
    size, gain, steps = 64, 1.3, 4000
    generator = torch.Generator().manual_seed(0)

    def pushes():
        for _ in range(steps):
            matrix = torch.randn(size, size, generator=generator, dtype=torch.float64) * (gain / size**0.5)
            yield matrix.__matmul__

    found = spectrum_of(pushes(), first(size, size))
    i = torch.arange(1, size + 1, dtype=torch.float64)
    expected = math.log(gain) + (digamma((size - i + 1) / 2) + math.log(2 / size)) / 2
    distance = (found.exponents - expected).abs()
    # Published within .0135; the last exponent has by far the widest distribution, of standard error .018.
    assert distance[:-1].max() < 0.0135
    assert (distance < 4 * found.error).all()


def untrained(gain, size, steps, transient):
    """x = J tanh(x), J Gaussian: as a tanh RNN h = tanh(W h), which has the same exponents."""
    generator = torch.Generator().manual_seed(0)
    weight = (torch.randn(size, size, generator=generator) * (gain / size**0.5)).float()
    weights = {"weight_ih": torch.zeros(size, 1), "weight_hh": weight}
    cell, start = cells.RNN(), {"h": torch.randn(1, size, generator=generator)}
    settled = unroll(cell, Weights(**weights), torch.zeros(transient, 1, 1), start).states["h"][-1]
    trajectory = unroll(cell, Weights(**weights), torch.zeros(steps, 1, 1), {"h": settled})
    return weights, trajectory


@pytest.mark.parametrize(("gain", "theory"), [(1.5, 0.0652), (2, 0.1547), (3, 0.3102), (5, 0.5324)])
def test_chaos_of_an_untrained_tanh_network(gain, theory):
    """Fact 10: the largest exponent of a random tanh network at N = 500 against the theory of infinite ones."""
    weights, trajectory = untrained(gain, 500, 400, 100)
    pushes = Pushforward(cells.RNN(), Weights(**weights), trajectory)
    found = spectrum_of(pushes, pushes.directions(1), transient=50)
    assert found.exponents[0].item() == pytest.approx(theory, rel=0.15)


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm", "gated"])
def test_against_a_naive_product_of_autograds_jacobians(kind):
    """ln of the growth of k-volumes: the sum of the k largest exponents is 1/T ln |J_T ... J_1 Q| of Q's first k."""
    torch.manual_seed(0)
    cell = {"tanh": cells.RNN(), "gru": cells.GRU(), "lstm": cells.LSTM(), "gated": cells.Gated()}[kind]
    weights = drawn(cell)
    trajectory = along(cell, weights, 6, batch=1)
    size = 3 * len(cell.states)
    product = torch.eye(size, dtype=torch.float64)
    for step in range(6):

        def stepped(state, x=trajectory.inputs[step, 0]):
            h, c = state.split(3) if len(cell.states) == 2 else (state, state)
            return torch.cat(naive_step(kind, weights, x, h, c)[: len(cell.states)])

        before = torch.cat([trajectory.states[state][step, 0] for state in cell.states])
        product = torch.func.jacrev(stepped)(before) @ product
    pushes = Pushforward(cell, Weights(**weights), trajectory)
    start = first(size, 2)
    found = spectrum_of(pushes, start).exponents
    volumes = [torch.linalg.svdvals(product @ start[0, :, :count]).log().sum().item() / 6 for count in (1, 2)]
    assert found.sum().item() == pytest.approx(volumes[1], rel=1e-9)
    assert max(found[0].item(), found.sum().item() - found[0].item()) == pytest.approx(found[0].item())
    assert volumes[0] in (pytest.approx(found[0].item(), rel=1e-9), pytest.approx(found[1].item(), rel=1e-9))
