"""Every layer against its paper's step, written out gate by gate in plain torch, without the package's equations."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh

import throughtime as tt
from throughtime import cells
from throughtime.cells import ALL_CELLS

STEPS, BATCH, FEATURES, HIDDEN = 5, 2, 3, 4


class Gates:
    """Affine functions of input and hidden state, by the place of the gate in the weights."""

    def __init__(self, layer: tt.Recurrent) -> None:
        self.weights = {name.removesuffix("_l0"): parameter.detach() for name, parameter in layer.named_parameters()}

    def rows(self, name: str, gate: int) -> Tensor:
        return self.weights[name][gate * HIDDEN : (gate + 1) * HIDDEN]

    def x(self, gate: int, x: Tensor) -> Tensor:
        """W_i x + b_i."""
        return x @ self.rows("weight_ih", gate).T + self.rows("bias_ih", gate)

    def u(self, gate: int, h: Tensor) -> Tensor:
        """W_h h + b_h, the gate counted among those that have recurrent weights."""
        return h @ self.rows("weight_hh", gate).T + self.rows("bias_hh", gate)

    def a(self, gate: int, x: Tensor, h: Tensor) -> Tensor:
        """The whole pre-activation, where every gate has recurrent weights."""
        return self.x(gate, x) + self.u(gate, h)


Step = Callable[[Gates, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def irnn(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    h = torch.relu(w.a(0, x, h))
    return h, h


def ctrnn(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    tau, dt = 4.0, 0.5
    h = h + dt / tau * (-h + tanh(w.a(0, x, h)))
    return h, h


def antisymmetric(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    matrix = w.weights["weight_hh"] - w.weights["weight_hh"].T - 0.05 * torch.eye(HIDDEN)
    h = h + 0.2 * tanh(h @ matrix.T + w.weights["bias_hh"] + w.x(0, x))
    return h, h


def ind_rnn(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    h = torch.relu(w.x(0, x) + w.weights["weight_hh"] * h)
    return h, h


def lru(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    nu, theta, gamma = (w.weights[f"weight_{name}"] for name in ("nu", "theta", "gamma"))
    eigenvalue = torch.exp(torch.complex(-nu.exp(), theta.exp()))
    real, imaginary = (x @ w.weights["weight_ih"].T).chunk(2, -1)
    state = torch.complex(*h.chunk(2, -1))
    state = eigenvalue * state + gamma.exp() * torch.complex(real, imaginary)
    state = state + torch.complex(*w.weights["bias_ih"].chunk(2))
    h = torch.cat([state.real, state.imag], -1)
    return h, h


def mgu(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    f = sigmoid(w.a(0, x, h))
    candidate = tanh(w.x(1, x) + f * w.u(1, h))
    h = (1 - f) * h + f * candidate
    return h, h


def ugrnn(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    g, candidate = sigmoid(w.a(0, x, h)), tanh(w.a(1, x, h))
    h = g * h + (1 - g) * candidate
    return h, h


def janet(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    s = w.a(0, x, h)
    h = sigmoid(s) * h + (1 - sigmoid(s - 1)) * tanh(w.a(1, x, h))
    return h, h


def li_gru(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    z, candidate = sigmoid(w.a(0, x, h)), torch.relu(w.a(1, x, h))
    h = z * h + (1 - z) * candidate
    return h, h


def min_gru(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    z = sigmoid(w.x(0, x))
    h = (1 - z) * h + z * w.x(1, x)
    return h, h


def min_lstm(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    f, i = sigmoid(w.x(0, x)), sigmoid(w.x(1, x))
    h = f / (f + i) * h + i / (f + i) * w.x(2, x)
    return h, h


def peephole_lstm(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i = sigmoid(w.a(0, x, h) + w.weights["weight_ci"] * c)
    f = sigmoid(w.a(1, x, h) + w.weights["weight_cf"] * c)
    c = f * c + i * tanh(w.a(2, x, h))
    o = sigmoid(w.a(3, x, h) + w.weights["weight_co"] * c)
    return o * tanh(c), c


def coupled_lstm(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i = sigmoid(w.a(0, x, h))
    c = (1 - i) * c + i * tanh(w.a(1, x, h))
    return sigmoid(w.a(2, x, h)) * tanh(c), c


def ran(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    i, f = sigmoid(w.x(1, x) + w.u(0, h)), sigmoid(w.x(2, x) + w.u(1, h))
    c = i * w.x(0, x) + f * c
    return tanh(c), c


def star(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    k, z = sigmoid(w.x(0, x) + w.u(0, h)), tanh(w.x(1, x))
    h = tanh((1 - k) * h + k * z)
    return h, torch.atanh(h)


def cfn(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    theta, eta = sigmoid(w.x(0, x) + w.u(0, h)), sigmoid(w.x(1, x) + w.u(1, h))
    h = theta * tanh(h) + eta * tanh(w.x(2, x))
    return h, h


def sru(w: Gates, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    v_f, v_r = w.weights["weight_hh"].chunk(2)
    f, r = sigmoid(w.x(1, x) + v_f * c), sigmoid(w.x(2, x) + v_r * c)
    c = f * c + (1 - f) * w.x(0, x)
    return r * c + (1 - r) * w.x(3, x), c


LAYERS: dict[tt.Recurrent, Step] = {
    tt.IRNN(FEATURES, HIDDEN): irnn,
    tt.CTRNN(FEATURES, HIDDEN, tau=4.0, dt=0.5): ctrnn,
    tt.AntisymmetricRNN(FEATURES, HIDDEN, epsilon=0.2, gamma=0.05): antisymmetric,
    tt.IndRNN(FEATURES, HIDDEN): ind_rnn,
    tt.LRU(FEATURES, HIDDEN): lru,
    tt.MGU(FEATURES, HIDDEN): mgu,
    tt.UGRNN(FEATURES, HIDDEN): ugrnn,
    tt.JANET(FEATURES, HIDDEN, beta=1.0): janet,
    tt.LiGRU(FEATURES, HIDDEN): li_gru,
    tt.MinGRU(FEATURES, HIDDEN): min_gru,
    tt.MinLSTM(FEATURES, HIDDEN): min_lstm,
    tt.PeepholeLSTM(FEATURES, HIDDEN): peephole_lstm,
    tt.CoupledLSTM(FEATURES, HIDDEN): coupled_lstm,
    tt.RAN(FEATURES, HIDDEN): ran,
    tt.STAR(FEATURES, HIDDEN): star,
    tt.CFN(FEATURES, HIDDEN): cfn,
    tt.SRU(FEATURES, HIDDEN): sru,
}


def as_states(layer: tt.Recurrent, h: Tensor, c: Tensor) -> Any:
    return h if layer.cell.states == ("h",) else (h, c)


@pytest.mark.parametrize(("layer", "step"), LAYERS.items(), ids=lambda item: getattr(item, "__name__", ""))
def test_the_papers_step(layer: tt.Recurrent, step: Step) -> None:
    torch.manual_seed(0)
    layer = layer.double()
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1, 1)
    inputs, h = torch.randn(STEPS, BATCH, FEATURES).double(), 0.9 * tanh(torch.randn(BATCH, HIDDEN)).double()
    c = torch.atanh(h) if isinstance(layer, tt.STAR) else torch.randn(BATCH, HIDDEN).double()
    start = as_states(layer, h[None], c[None])
    expected = []
    for x in inputs:
        h, c = step(Gates(layer), x, h, c)
        expected.append(h)
    output, last = layer(inputs, start)
    torch.testing.assert_close(output, torch.stack(expected))
    torch.testing.assert_close(last, as_states(layer, h[None], c[None]))


@pytest.mark.parametrize("window", [1, 2, 3])
def test_qrnn_is_a_convolution_and_then_pooling(window: int) -> None:
    torch.manual_seed(0)
    layer, inputs = tt.QRNN(FEATURES, HIDDEN, window=window), torch.randn(STEPS, BATCH, FEATURES)
    kernel = layer.weight_ih_l0.unflatten(1, (window, FEATURES)).transpose(1, 2)
    padded = nn.functional.pad(inputs.permute(1, 2, 0), (window - 1, 0))
    z, f, o = nn.functional.conv1d(padded, kernel, layer.bias_ih_l0).permute(2, 0, 1).chunk(3, -1)
    c, expected = torch.zeros(BATCH, HIDDEN), []
    for step in range(STEPS):
        c = sigmoid(f[step]) * c + (1 - sigmoid(f[step])) * tanh(z[step])
        expected.append(sigmoid(o[step]) * c)
    torch.testing.assert_close(layer(inputs)[0], torch.stack(expected))


def test_every_cell_has_a_layer_of_its_name() -> None:
    for cell in ALL_CELLS:
        layer = getattr(tt, type(cell).__name__)(FEATURES, HIDDEN, 2, bidirectional=True)
        assert type(layer.cell) is type(cell)


def test_what_is_the_cells_own_is_given_by_keyword() -> None:
    layer = tt.CTRNN(FEATURES, HIDDEN, 2, batch_first=True, tau=20.0)
    assert layer.cell == cells.CTRNN(tau=20.0) and layer.num_layers == 2 and layer.batch_first
    with pytest.raises(TypeError, match="tau"):
        tt.GRU(FEATURES, HIDDEN, tau=20.0)


def test_irnn_starts_from_the_identity() -> None:
    layer = tt.IRNN(FEATURES, HIDDEN)
    assert torch.equal(layer.weight_hh_l0, torch.eye(HIDDEN))
    assert not layer.bias_ih_l0.any() and not layer.bias_hh_l0.any()
    assert 0 < layer.weight_ih_l0.abs().max() < 1e-2


def test_lru_starts_on_a_ring_with_states_of_unit_size() -> None:
    torch.manual_seed(0)
    layer = tt.LRU(8, 256, bias=False).double()
    eigenvalues = torch.linalg.eigvals(layer.weights(0, 0).weight_hh).abs()
    assert 0.5 <= eigenvalues.min() < 0.6 and 0.98 < eigenvalues.max() <= 0.99
    # White input of variance 1, B of variance 1/(2 features) a part: |h|^2 = 1 per complex unit, half per part.
    output, _ = layer(torch.randn(400, 64, 8, dtype=torch.float64))
    assert output[-1].square().mean().item() == pytest.approx(0.5, rel=0.05)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tt.CTRNN(3, 4, tau=0.5), "tau, dt: expected 0 < dt <= tau, found tau=0.5, dt=1.0"),
        (lambda: tt.IndRNN(3, 4, nonlinearity="sin"), "nonlinearity: expected one of .*, found 'sin'"),
        (lambda: tt.QRNN(3, 4, window=0), "window: expected at least 1, found 0"),
        (lambda: tt.LRU(3, 5), "hidden_size: expected an even number, of pairs of real units, found 5"),
    ],
)
def test_bad_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
