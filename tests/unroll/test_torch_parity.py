"""torch's own weights load into the three torch cells, both ways, and give torch's outputs and gradients."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from pairwise import named, pairwise
from throughtime import unroll

INPUT, HIDDEN, TIME, BATCH = 3, 5, 7, 4
LENGTHS = {"padded": None, "unbatched": None, "sorted": [7, 5, 5, 1], "unsorted": [4, 7, 1, 6]}
PAIRS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "tanh": (nn.RNN, unroll.RNN, {"nonlinearity": "tanh"}),
    "relu": (nn.RNN, unroll.RNN, {"nonlinearity": "relu"}),
    "gru": (nn.GRU, unroll.GRU, {}),
    "lstm": (nn.LSTM, unroll.LSTM, {}),
    "projected": (nn.LSTM, unroll.LSTM, {"proj_size": 2}),
}
CONFIGURATIONS = pairwise(
    {
        "cell": PAIRS,
        "form": LENGTHS,
        "num_layers": (1, 2, 3),
        "bidirectional": (False, True),
        "batch_first": (False, True),
        "bias": (True, False),
        "started": (False, True),
    }
)


def pair(name: str, **keywords: Any) -> tuple[nn.Module, unroll.Recurrent]:
    """torch's layer and ours, with equal weights."""
    torchs, own, arguments = PAIRS[name]
    torch.manual_seed(0)
    reference = torchs(INPUT, HIDDEN, dtype=torch.float64, **arguments, **keywords)
    layer = own(INPUT, HIDDEN, dtype=torch.float64, **arguments, **keywords)
    layer.load_state_dict(reference.state_dict(), strict=True)
    return reference, layer


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def sequence(form: str, batch_first: bool) -> tuple[Tensor, Any]:
    """The numbers, and what a layer is called with."""
    if form == "unbatched":
        input = draw(TIME, INPUT)
        return input, input
    input = draw(*((BATCH, TIME) if batch_first else (TIME, BATCH)), INPUT)
    lengths = LENGTHS[form]
    if lengths is None:
        return input, input
    return input, pack_padded_sequence(input, torch.tensor(lengths), batch_first, enforce_sorted=form == "sorted")


def states(name: str, layer: unroll.Recurrent, *batch: int) -> tuple[Tensor, ...]:
    recurrences = layer.num_layers * layer.num_directions
    return tuple(draw(recurrences, *batch, size) for size in layer.state_sizes.values())


def flat(result: Any) -> list[Tensor]:
    """Every tensor of what a layer returned."""
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, PackedSequence):
        return [one for one in result if one is not None]
    return [tensor for one in result for tensor in flat(one)]


def assert_equal(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CONFIGURATIONS, ids=named)
def test_outputs_and_gradients(case: dict[str, Any]) -> None:
    keywords = {name: case[name] for name in ("num_layers", "bidirectional", "batch_first", "bias")}
    reference, layer = pair(case["cell"], **keywords)
    numbers, input = sequence(case["form"], case["batch_first"])
    given = states(case["cell"], layer, *(() if case["form"] == "unbatched" else (BATCH,))) if case["started"] else ()
    hx = None if not given else given if len(given) > 1 else given[0]
    results, gradients = [], []
    for module in (reference, layer):
        result = module(input, hx)
        loss = sum(one.sin().sum() for one in flat(result) if one.is_floating_point())
        parameters = dict(module.named_parameters())
        found = torch.autograd.grad(loss, [numbers, *given, *parameters.values()], retain_graph=True)
        gradients.append(dict(zip([*range(1 + len(given)), *parameters], found, strict=True)))
        results.append(result)
    assert type(results[1][0]) is type(results[0][0])
    assert_equal(flat(results[1]), flat(results[0]))
    assert_equal(gradients[1], gradients[0])


@pytest.mark.parametrize("name", PAIRS)
def test_a_batch_without_samples(name: str) -> None:
    reference, layer = pair(name, num_layers=2, bidirectional=True)
    assert_equal(flat(layer(draw(TIME, 0, INPUT))), flat(reference(draw(TIME, 0, INPUT))))


@pytest.mark.parametrize("name", PAIRS)
def test_one_step_of_one_sample(name: str) -> None:
    reference, layer = pair(name)
    input = draw(1, 1, INPUT)
    assert_equal(layer(input), reference(input))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", PAIRS)
def test_weights_load_back_into_torch(name: str, bias: bool) -> None:
    reference, layer = pair(name, num_layers=2, bidirectional=True, bias=bias)
    layer.reset_parameters()
    reference.load_state_dict(layer.state_dict(), strict=True)
    input = draw(TIME, BATCH, INPUT)
    assert_equal(layer(input), reference(input))
    assert [name for name, _ in layer.named_parameters()] == [name for name, _ in reference.named_parameters()]
    assert [len(weights) for weights in layer.all_weights] == [len(weights) for weights in reference.all_weights]


@pytest.mark.parametrize("name", PAIRS)
def test_same_seed_same_initial_weights(name: str) -> None:
    torchs, own, arguments = PAIRS[name]
    states = []
    for kind in (torchs, own):
        torch.manual_seed(3)
        states.append(kind(INPUT, HIDDEN, num_layers=2, **arguments).state_dict())
    assert all(torch.equal(states[0][weight], states[1][weight]) for weight in states[0])


@pytest.mark.parametrize("name", PAIRS)
def test_positional_arguments_are_torchs(name: str) -> None:
    torchs, own, arguments = PAIRS[name]
    nonlinearity = tuple(value for key, value in arguments.items() if key == "nonlinearity")
    projected = (arguments.get("proj_size", 0), "cpu", torch.float64)
    positional = (INPUT, HIDDEN, 2, *nonlinearity, False, True, 0.25, True, *projected)
    theirs, ours = torchs(*positional), own(*positional)
    names = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional", "proj_size")
    assert {name: getattr(ours, name) for name in names} == {name: getattr(theirs, name) for name in names}
    ours.load_state_dict(theirs.state_dict(), strict=True)


@pytest.mark.parametrize("form", LENGTHS)
@pytest.mark.parametrize("name", ["gru", "projected"])
def test_dropout_between_layers_is_torchs_under_the_same_seed(name: str, form: str) -> None:
    reference, layer = pair(name, num_layers=3, dropout=0.5, batch_first=True)
    _, input = sequence(form, True)
    outputs = []
    for module in (reference, layer):
        torch.manual_seed(1)
        outputs.append(flat(module(input)))
    assert_equal(outputs[1], outputs[0])
    assert not torch.equal(flat(layer(input))[0], flat(layer(input))[0])
    assert_equal(flat(layer.eval()(input)), flat(reference.eval()(input)))
