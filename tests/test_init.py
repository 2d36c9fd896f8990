"""Named initialisations: their closed forms, on our layers and torch's, and what they refuse."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import throughtime as tt
from throughtime.cells import ALL_CELLS

HIDDEN = 64
# By layer, the rows of the gate that keeps, the sign of its sigmoid, the rows of a gate that writes by itself.
KEEPING: dict[str, tuple[Callable[..., nn.Module], int, int, int | None]] = {
    "nn.GRU": (nn.GRU, 1, 1, None),
    "nn.LSTM": (nn.LSTM, 1, 1, 0),
    "nn.GRUCell": (nn.GRUCell, 1, 1, None),
    "nn.LSTMCell": (nn.LSTMCell, 1, 1, 0),
    "GRU": (tt.GRU, 1, 1, None),
    "LSTM": (tt.LSTM, 1, 1, 0),
    "PeepholeLSTM": (tt.PeepholeLSTM, 1, 1, 0),
    "Gated": (tt.Gated, 0, 1, 1),
    "MGU": (tt.MGU, 0, -1, None),
    "UGRNN": (tt.UGRNN, 0, 1, None),
    "JANET": (tt.JANET, 0, 1, None),
    "LiGRU": (tt.LiGRU, 0, 1, None),
    "MinGRU": (tt.MinGRU, 0, -1, None),
    "CoupledLSTM": (tt.CoupledLSTM, 0, -1, None),
    "RAN": (tt.RAN, 2, 1, 1),
    "STAR": (tt.STAR, 0, -1, None),
    "CFN": (tt.CFN, 0, 1, 1),
    "SRU": (tt.SRU, 1, 1, None),
    "QRNN": (tt.QRNN, 1, 1, None),
}
CONSTANT = {"RNN", "IRNN", "CTRNN", "AntisymmetricRNN", "IndRNN", "LRU"}


def parameter(layer: nn.Module, name: str) -> Tensor:
    return next(value for full, value in layer.named_parameters() if full in (name, f"{name}_l0"))


def rows(bias: Tensor, gate: int) -> Tensor:
    return bias[gate * HIDDEN : (gate + 1) * HIDDEN]


def total_bias(layer: nn.Module, gate: int) -> Tensor:
    """What is added to a gate's pre-activation: `bias_ih`, and `bias_hh` of the gates that the state enters."""
    bias = rows(parameter(layer, "bias_ih"), gate)
    cell = layer.cell if isinstance(layer, tt.Recurrent) else None
    if cell is None:
        return bias + rows(parameter(layer, "bias_hh"), gate)
    name = cell.gates[gate]
    if cell.enters != "dense" or name not in cell.entered:
        return bias
    return bias + rows(parameter(layer, "bias_hh"), cell.entered.index(name))


def test_every_cell_is_in_one_list_or_refused() -> None:
    names = {type(cell).__name__ for cell in ALL_CELLS}
    assert names - {"MinLSTM"} == ({name for name in KEEPING if "." not in name} | CONSTANT)


@pytest.mark.parametrize("name", KEEPING)
def test_forget_bias_is_the_bias_of_the_gate_that_keeps(name: str) -> None:
    make, keep, sign, _ = KEEPING[name]
    layer = make(3, HIDDEN)
    before = {key: value.clone() for key, value in layer.named_parameters()}
    assert tt.init.forget_bias_(layer, 2.0) is layer
    assert (total_bias(layer, keep) == sign * 2.0).all()
    for key, value in layer.named_parameters():
        same = value == before[key]
        assert same.all() if key.startswith("weight") else same.sum() >= len(value) - HIDDEN


@pytest.mark.parametrize("name", KEEPING)
def test_chrono_spreads_time_constants_over_the_range(name: str) -> None:
    """Tallec and Ollivier 2018: e^b_f is uniform over [1, longest - 1], and b_i = -b_f."""
    make, keep, sign, write = KEEPING[name]
    torch.manual_seed(0)
    layer = tt.init.chrono_(make(3, HIDDEN), 100)
    kept = sign * total_bias(layer, keep)
    times = kept.exp()
    assert 1 <= times.min() < 15 and 85 < times.max() <= 99.001
    if write is not None:
        torch.testing.assert_close(total_bias(layer, write), -kept)


def test_chrono_on_784_steps() -> None:
    """Fact 12: mean b_f = 783 ln 783 / 782 - 1 = 5.672, median memory -1 / ln sigmoid(ln 392) = 392.5 steps."""
    torch.manual_seed(0)
    layer = tt.init.chrono_(tt.QRNN(1, 20000), 784)
    bias = layer.bias_ih_l0.detach().double()[20000:40000]
    assert bias.mean().item() == pytest.approx(783 * math.log(783) / 782 - 1, abs=0.03)
    assert (-1 / nn.functional.logsigmoid(bias)).median().item() == pytest.approx(392.5, rel=0.02)


def test_an_lstm_without_recurrent_weights_forgets_at_the_rate_of_its_bias() -> None:
    """Fact 11: dc_t/dc_k = sigmoid(b_f)^(t - k)."""
    torch.manual_seed(0)
    layer = tt.init.forget_bias_(nn.LSTM(2, 3).double(), 3.0)
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
        layer.weight_ih_l0.zero_()
    inputs = torch.randn(12, 2, 2).double()
    exam = tt.examine(layer, inputs, loss=lambda output, targets: output[0].sum((1, 2)), loss_steps=[12])
    rate = exam["l0"].decay_rate.sel(state="c").item()
    assert rate == pytest.approx(-math.log1p(math.exp(-3.0)), rel=1e-9)


@pytest.mark.parametrize("make", [nn.RNN, nn.GRU, nn.LSTM, nn.LSTMCell, tt.GRU, tt.RAN, tt.AntisymmetricRNN])
def test_orthogonal_blocks(make: Callable[..., nn.Module]) -> None:
    layer = make(3, 8, dtype=torch.float64)
    inputs = parameter(layer, "weight_ih").clone()
    tt.init.orthogonal_(layer, 0.5)
    for block in parameter(layer, "weight_hh").split(8):
        torch.testing.assert_close(block @ block.T, 0.25 * torch.eye(8, dtype=torch.float64))
    assert torch.equal(parameter(layer, "weight_ih"), inputs)


def test_every_layer_and_direction() -> None:
    layer = tt.init.identity_(nn.GRU(3, 8, num_layers=2, bidirectional=True), 0.9)
    for name, value in layer.named_parameters():
        if name.startswith("weight_hh"):
            assert torch.equal(value, 0.9 * torch.eye(8).repeat(3, 1))
        elif name.startswith("bias"):
            assert not value.any()


def test_identity_makes_an_irnn_of_a_relu_network() -> None:
    torch.manual_seed(0)
    layer = tt.init.identity_(nn.RNN(3, 8, nonlinearity="relu"))
    assert torch.equal(layer(torch.zeros(4, 1, 3), torch.ones(1, 1, 8))[0], torch.ones(4, 1, 8))


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRUCell, tt.SRU, tt.PeepholeLSTM])
def test_default_is_torchs(make: Callable[..., nn.Module]) -> None:
    layer = make(3, 16)
    with torch.no_grad():
        for value in layer.parameters():
            value.fill_(9)
    torch.manual_seed(0)
    tt.init.default_(layer)
    torch.manual_seed(0)
    expected = make(3, 16)
    for found, value in zip(layer.parameters(), expected.parameters(), strict=True):
        assert torch.equal(found, value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: tt.init.orthogonal_(nn.Linear(3, 4)), TypeError, "orthogonal_ knows torch.nn's RNN.*found Linear"),
        (lambda: tt.init.orthogonal_(tt.IndRNN(3, 4)), ValueError, "sees itself only"),
        (lambda: tt.init.identity_(tt.MinGRU(3, 4)), ValueError, "its gates see the input only"),
        (lambda: tt.init.orthogonal_(tt.LRU(3, 4)), ValueError, "made of other weights"),
        (lambda: tt.init.default_(tt.LRU(3, 4)), ValueError, "weight_gamma, weight_nu, weight_theta of LRU"),
        (lambda: tt.init.identity_(nn.LSTM(3, 4, proj_size=2)), ValueError, "with proj_size LSTM has one of"),
        (lambda: tt.init.forget_bias_(nn.RNN(3, 4)), ValueError, "RNN has none: what it keeps is a constant"),
        (lambda: tt.init.forget_bias_(tt.CTRNN(3, 4)), ValueError, "what it keeps is a constant"),
        (lambda: tt.init.chrono_(tt.MinLSTM(3, 4), 10), ValueError, "what it keeps is not the sigmoid of one gate"),
        (lambda: tt.init.chrono_(nn.LSTM(3, 4, bias=False), 10), ValueError, "LSTM has none; make it with bias=True"),
        (lambda: tt.init.chrono_(nn.LSTM(3, 4), 1), ValueError, "longest: expected at least 2 steps, found 1"),
    ],
)
def test_what_does_not_apply_is_refused(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("initialise", "argument"),
    [
        (tt.init.orthogonal_, "gain"),
        (tt.init.identity_, "gain"),
        (tt.init.forget_bias_, "value"),
        (tt.init.chrono_, "longest"),
    ],
)
@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_a_number_must_be_finite(initialise, argument, number):
    layer = nn.GRU(3, 4)
    before = {name: weight.clone() for name, weight in layer.state_dict().items()}
    with pytest.raises(ValueError, match=rf"^{argument}: expected a finite number, found {number}"):
        initialise(layer, number)
    assert all(torch.equal(weight, before[name]) for name, weight in layer.state_dict().items())
