"""Layers whose graphs do not fit: run in segments, they give the numbers of the whole run, and keep no graph of it."""

from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import pack_padded_sequence

import throughtime as tt
from throughtime.capture import checkpointed
from throughtime.capture.checkpointed import Segments
from throughtime.capture.modules import layers_of
from throughtime.capture.own_run import survey
from throughtime.capture.plan import openable

STEPS, BATCH, FEATURES, HIDDEN, SHORTEST = 23, 2, 4, 5, 6


class Model(nn.Module):
    """What is read of a layer is its output and, with `start`, what it makes of an initial state of the model's own."""

    def __init__(self, layer: nn.Module, start: bool = False) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Linear(FEATURES, FEATURES), layer
        self.readout = nn.LazyLinear(2)
        self.start = nn.Parameter(torch.randn(layer.num_layers, BATCH, HIDDEN)) if start else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        output = self.layer(self.embedding(inputs), self.start)[0]
        return self.readout(output if not self.layer.batch_first else output.transpose(0, 1))


class Windowed(nn.Module):
    """Truncated backpropagation: the state is detached every 9 steps."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(FEATURES, HIDDEN)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs, state = [], None
        for window in inputs.split(9):
            output, state = self.layer(window, state)
            state = tuple(one.detach() for one in state)
            outputs.append(output)
        return torch.cat(outputs)


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(FEATURES, HIDDEN)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(inputs, [STEPS] * BATCH)
        return nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0])[0]


def per_step(output: torch.Tensor, targets: None = None) -> torch.Tensor:
    return output.square().sum((1, 2))


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], list[int]]:
    """From so many bytes for all graphs: the lengths of the segments that are run, which is filled as they are."""
    monkeypatch.setattr(checkpointed, "SHORTEST", SHORTEST)
    monkeypatch.setattr(checkpointed, "WORTH_COMPILING", 1)
    lengths: list[int] = []
    run = checkpointed._run

    def noted(layer, own, input, hx):
        lengths.append(input.shape[1 if input.shape[0] == BATCH else 0])
        return run(layer, own, input, hx)

    monkeypatch.setattr(checkpointed, "_run", noted)

    def given(memory: int | None) -> list[int]:
        monkeypatch.setattr(import_module("throughtime.examine"), "for_what_can_be_made_again", lambda *_: memory)
        lengths.clear()
        return lengths

    return given


def built(make: Callable[[], nn.Module], batch_first: bool = False) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    shape = (BATCH, STEPS, FEATURES) if batch_first else (STEPS, BATCH, FEATURES)
    inputs = torch.randn(shape, dtype=torch.float64)
    model = make().double()
    model(inputs)  # What is lazy is made.
    return model, inputs


CUT = {
    "RNN": lambda: Model(nn.RNN(FEATURES, HIDDEN)),
    "stacked GRU": lambda: Model(nn.GRU(FEATURES, HIDDEN, num_layers=2)),
    "LSTM with a projection": lambda: Model(nn.LSTM(FEATURES, HIDDEN, proj_size=3)),
    "GRU from a state of its own": lambda: Model(nn.GRU(FEATURES, HIDDEN), start=True),
    "layer of ours": lambda: Model(tt.GRU(FEATURES, HIDDEN)),
    "LSTM of ours": lambda: Model(tt.LSTM(FEATURES, HIDDEN, num_layers=2)),
    "frozen": lambda: Model(nn.LSTM(FEATURES, HIDDEN).requires_grad_(False)),
}


@pytest.mark.parametrize("name", CUT)
def test_the_numbers_are_those_of_the_whole_run(name, cut):
    model, inputs = built(CUT[name])
    lengths = cut(None)
    whole = tt.examine(model, inputs, loss=per_step)
    assert lengths == []
    lengths = cut(0)
    parts = tt.examine(model, inputs, loss=per_step)
    assert lengths == [7, 8, 8]
    _same(parts, whole)


def test_of_a_batch_laid_out_by_sample_the_steps_are_cut(cut):
    model, inputs = built(lambda: Model(nn.GRU(FEATURES, HIDDEN, batch_first=True)), batch_first=True)
    cut(None)
    whole = tt.examine(model, inputs, loss=per_step)
    lengths = cut(0)
    parts = tt.examine(model, inputs, loss=per_step)
    assert lengths == [7, 8, 8]
    _same(parts, whole)


class TimeFirst(nn.Module):
    """What it makes of its layer's output rests on how that lies in memory."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(HIDDEN, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.readout(self.layer(inputs)[0].transpose(0, 1).view(-1, HIDDEN)).view(STEPS, BATCH, 2)


class Swapped(nn.Module):
    """Weights that are others for a single call."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        half = {"weight_hh_l0": 0.5 * self.layer.weight_hh_l0}
        return torch.func.functional_call(self.layer, half, (inputs,))[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: TimeFirst(nn.GRU(FEATURES, HIDDEN, batch_first=True)),
        lambda: TimeFirst(tt.GRU(FEATURES, HIDDEN, batch_first=True)),
        lambda: Swapped(nn.GRU(FEATURES, HIDDEN)),
        lambda: Swapped(tt.GRU(FEATURES, HIDDEN)),
    ],
    ids=["layout", "layout of ours", "swapped weights", "swapped weights of ours"],
)
def test_what_a_model_makes_of_it_goes_on(make, cut):
    model, inputs = built(make, batch_first=isinstance(make(), TimeFirst))
    cut(None)
    whole = tt.examine(model, inputs, loss=per_step)
    lengths = cut(0)
    parts = tt.examine(model, inputs, loss=per_step)
    assert lengths == [7, 8, 8]
    _same(parts, whole)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda layer, inputs: layer(inputs, None, 3),
            r"GRU\.forward\(\) takes from 2 to 3 positional arguments but 4",
        ),
        (lambda layer, inputs: layer(inputs[..., :3]), r"input\.size\(-1\) must be equal to input_size"),
        (lambda layer, inputs: layer(inputs, torch.zeros(1, 7, HIDDEN).double()), r"Expected hidden size \(1, 2, 5\)"),
    ],
    ids=["too much", "features", "state"],
)
def test_mistakes_are_told_as_the_layer_tells_them(call, message, cut):
    class Mistaken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.GRU(FEATURES, HIDDEN)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return call(self.layer, inputs)[0]

    cut(0)
    with pytest.raises((TypeError, RuntimeError), match=message):
        tt.examine(Mistaken().double(), torch.randn(STEPS, BATCH, FEATURES).double(), loss=per_step)
    assert nn.GRU.forward.__qualname__ == "GRU.forward"


def test_windows_of_truncated_backpropagation_are_cut_too(cut):
    model, inputs = built(Windowed)
    cut(None)
    whole = tt.examine(model, inputs, loss=per_step)
    lengths = cut(0)
    parts = tt.examine(model, inputs, loss=per_step)
    # The model runs as it is, and with its detaches leaving the graph whole.
    assert lengths == 2 * [9, 9, 5]
    _same(parts, whole)


WHOLE = {
    "both directions": lambda: Model(nn.GRU(FEATURES, HIDDEN, bidirectional=True)),
    "dropout between its layers": lambda: Model(nn.GRU(FEATURES, HIDDEN, num_layers=2, dropout=0.4)),
    "weights computed from others": lambda: Model(weight_norm(nn.GRU(FEATURES, HIDDEN), "weight_hh_l0")),
    "several inputs at once": lambda: Model(tt.QRNN(FEATURES, HIDDEN)),
    "weights made of parameters": lambda: Model(tt.LRU(FEATURES, 2 * (HIDDEN // 2))),
    "packed": Packed,
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_would_compute_something_else_in_segments_is_left_whole(name, cut):
    model, inputs = built(WHOLE[name])
    cut(None)
    whole = tt.examine(model, inputs, loss=per_step)
    lengths = cut(0)
    _same(tt.examine(model, inputs, loss=per_step), whole)
    assert lengths == []


@pytest.mark.parametrize("memory", [None, 0])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM, tt.RNN, tt.GRU, tt.LSTM])
def test_what_is_chaotic_is_run_in_the_same_segments_by_the_same_kernel_when_it_is_opened(
    layer, batch_first, memory, monkeypatch
):
    """Else rounding would grow to other outputs, which an examination refuses."""
    torch.manual_seed(0)
    monkeypatch.setattr(import_module("throughtime.examine"), "for_what_can_be_made_again", lambda *_: memory)
    chaotic = layer(FEATURES, 64, batch_first=batch_first)
    steps = 3 * checkpointed.SHORTEST + 60
    inputs = torch.randn((3, steps, FEATURES) if batch_first else (steps, 3, FEATURES))
    with torch.no_grad():
        chaotic.weight_hh_l0.mul_(16)
    axes = (0, 2) if batch_first else (1, 2)
    exam = tt.examine(chaotic, inputs, loss=lambda output, _: output[0].square().sum(axes), loss_steps=2, max_lag=5)
    assert exam["l0"].lyapunov.max() > 0.1


def test_calls_are_left_whole_while_their_graphs_fit():
    layers, inputs = layers_of(nn.GRU(FEATURES, HIDDEN)), torch.randn(1000, BATCH, FEATURES)
    taken = 1000 * 3 * (checkpointed.VECTORS * BATCH * HIDDEN * 4 + checkpointed.NODES)
    segments = Segments(2 * taken)
    found = [segments.of(layers, inputs, {"lengths": None}) for _ in range(3)]
    assert found == [None, None, 3]
    assert segments.of(layers, torch.randn(100_000, 8, FEATURES), {}) == 316
    assert segments.of(layers, inputs, {"lengths": [1000, 3, 5]}) is None
    with torch.autocast("cpu"):
        assert segments.of(layers, inputs, {}) is None


@pytest.mark.parametrize("layer", [nn.RNN, nn.GRU, nn.LSTM, tt.GRU])
def test_no_graph_is_kept_of_a_segment_and_every_gradient_is_right(layer, monkeypatch):
    monkeypatch.setattr(checkpointed, "SHORTEST", SHORTEST)
    monkeypatch.setattr(checkpointed, "WORTH_COMPILING", 1)
    model, inputs = built(lambda: Model(layer(FEATURES, HIDDEN)))
    inputs.requires_grad_()

    def found(memory):
        own = survey(model, lambda: model(inputs), per_step, openable(model), memory)
        nodes = _nodes(own.losses)
        starts = [*model.parameters(), inputs]
        return nodes, torch.autograd.grad(own.losses.sum(), starts)

    (whole, expected), (few, gradients) = found(None), found(0)
    assert few <= 40
    if layer in (nn.RNN, nn.GRU):
        assert whole > 5 * STEPS
    for gradient, reference in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-12, atol=1e-14)


def _same(found: tt.Examination, expected: tt.Examination) -> None:
    assert found.recurrences == expected.recurrences
    for name in found.recurrences:
        for variable in ("gradient_map", "lag_profile", "forward_memory"):
            np.testing.assert_allclose(found[name][variable], expected[name][variable], rtol=1e-9, atol=1e-10)
        for weight in ("weight_ih", "bias_ih"):
            mine, theirs = (one.weight_terms(name, weight).norm for one in (found, expected))
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-14)


def _nodes(tensor: torch.Tensor) -> int:
    seen, open_ones = set(), [tensor.grad_fn]
    while open_ones:
        node = open_ones.pop()
        if node is not None and node not in seen:
            seen.add(node)
            open_ones += [following for following, _ in node.next_functions]
    return len(seen)
