"""torch's own weights load into the three torch cells, both ways, and give torch's outputs."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from throughtime import unroll

INPUT, HIDDEN, TIME, BATCH = 3, 5, 7, 2
PAIRS = {
    "rnn tanh": (nn.RNN, unroll.RNN, {"nonlinearity": "tanh"}),
    "rnn relu": (nn.RNN, unroll.RNN, {"nonlinearity": "relu"}),
    "gru": (nn.GRU, unroll.GRU, {}),
    "lstm": (nn.LSTM, unroll.LSTM, {}),
}
SHAPES = [
    dict(zip(("num_layers", "bidirectional", "batch_first", "bias"), values, strict=True))
    for values in itertools.product((1, 2), (False, True), (False, True), (True, False))
]


def pair(name: str, **keywords: Any) -> tuple[nn.Module, unroll.Recurrent]:
    """torch's layer and ours, with equal weights."""
    torchs, own, arguments = PAIRS[name]
    torch.manual_seed(0)
    reference = torchs(INPUT, HIDDEN, dtype=torch.float64, **arguments, **keywords)
    layer = own(INPUT, HIDDEN, dtype=torch.float64, **arguments, **keywords)
    layer.load_state_dict(reference.state_dict(), strict=True)
    return reference, layer


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def initial_state(name: str, *shape: int) -> Any:
    return (draw(*shape), draw(*shape)) if name == "lstm" else draw(*shape)


def assert_equal(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, map(int, shape.values()))))
@pytest.mark.parametrize("name", PAIRS)
def test_outputs_and_gradients(name: str, shape: dict[str, Any]) -> None:
    reference, layer = pair(name, **shape)
    states = shape["num_layers"] * (1 + shape["bidirectional"])
    input = draw(*((BATCH, TIME) if shape["batch_first"] else (TIME, BATCH)), INPUT)
    for hx in (None, initial_state(name, states, BATCH, HIDDEN)):
        assert_equal(layer(input, hx), reference(input, hx))
    for module in (reference, layer):
        module(input)[0].square().sum().backward()
    gradients = {weight: parameter.grad for weight, parameter in reference.named_parameters()}
    assert_equal({weight: parameter.grad for weight, parameter in layer.named_parameters()}, gradients)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_unbatched(name: str, batch_first: bool) -> None:
    reference, layer = pair(name, num_layers=2, bidirectional=True, batch_first=batch_first)
    input = draw(TIME, INPUT)
    for hx in (None, initial_state(name, 4, HIDDEN)):
        assert_equal(layer(input, hx), reference(input, hx))


@pytest.mark.parametrize("name", PAIRS)
def test_one_step_of_one_sample(name: str) -> None:
    reference, layer = pair(name)
    input = draw(1, 1, INPUT)
    assert_equal(layer(input), reference(input))


@pytest.mark.parametrize("name", PAIRS)
def test_weights_load_back_into_torch(name: str) -> None:
    reference, layer = pair(name, num_layers=2, bidirectional=True)
    layer.reset_parameters()
    reference.load_state_dict(layer.state_dict(), strict=True)
    input = draw(TIME, BATCH, INPUT)
    assert_equal(layer(input), reference(input))
    assert [name for name, _ in layer.named_parameters()] == [name for name, _ in reference.named_parameters()]


@pytest.mark.parametrize("name", PAIRS)
def test_same_seed_same_initial_weights(name: str) -> None:
    torchs, own, arguments = PAIRS[name]
    states = []
    for kind in (torchs, own):
        torch.manual_seed(3)
        states.append(kind(INPUT, HIDDEN, num_layers=2, **arguments).state_dict())
    assert all(torch.equal(states[0][weight], states[1][weight]) for weight in states[0])


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", PAIRS)
def test_dropout_between_layers_is_torchs_under_the_same_seed(name: str, batch_first: bool) -> None:
    reference, layer = pair(name, num_layers=3, dropout=0.5, batch_first=batch_first)
    input = draw(BATCH, TIME, INPUT)
    outputs = []
    for module in (reference, layer):
        torch.manual_seed(1)
        outputs.append(module(input)[0])
    assert_equal(outputs[1], outputs[0])
    assert not torch.equal(layer(input)[0], layer(input)[0])
    assert_equal(layer.eval()(input), reference.eval()(input))
