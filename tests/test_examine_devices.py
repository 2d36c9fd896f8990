"""A model that is on another device: the same numbers, and no operation on tensors of two devices.

Where there is no GPU, a device is pretended; see `pretended`. With one, the tests marked `gpu` examine the same there.
"""

import copy
import re

import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import throughtime as tt
from pretended import Elsewhere, moved, pretending

STEPS, SAMPLES, FEATURES, HIDDEN, SYMBOLS = 9, 2, 3, 4, 5


class Tagger(nn.Module):
    """Layers in two directions between an embedding and a readout."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.readout = nn.Embedding(SYMBOLS, FEATURES), nn.Linear(2 * HIDDEN, SYMBOLS)
        self.layers = nn.LSTM(FEATURES, HIDDEN, num_layers=2, bidirectional=True)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout(self.layers(self.embedding(inputs))[0])


class Mixed(nn.Module):
    """An attention, which mixes steps, between an LSTM and a layer of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTM(FEATURES, HIDDEN), tt.GRU(HIDDEN, HIDDEN)
        self.attention, self.norm = nn.MultiheadAttention(HIDDEN, 2), nn.LayerNorm(HIDDEN)

    def forward(self, inputs: Tensor) -> Tensor:
        states = self.first(inputs)[0]
        return self.second(self.norm(states + self.attention(states, states, states, need_weights=False)[0]))[0]


class Packed(nn.Module):
    """Samples of different lengths; what is told of them is on the CPU in any case."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(FEATURES, HIDDEN, bidirectional=True)

    def forward(self, inputs: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(inputs, torch.tensor([STEPS, STEPS - 3]), enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.layer(packed)[0])[0]


class Own(nn.Module):
    """A step whose equations are not known."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.pass_on = nn.Linear(FEATURES, HIDDEN), nn.Linear(HIDDEN, HIDDEN)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.read(x) + self.pass_on(torch.relu(self.pass_on(h))))


class Stepped(nn.Module):
    """A cell in a loop."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, inputs: Tensor) -> Tensor:
        state, states = inputs.new_zeros(inputs.shape[1], HIDDEN), []
        for x in inputs.unbind(0):
            state = self.cell(x, state)
            states.append(state)
        return torch.stack(states)


class Final(nn.Module):
    """One loss, of the last states."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(FEATURES, HIDDEN, proj_size=2)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat(self.layer(inputs)[1], dim=-1)


def squares(output, targets) -> Tensor:
    output = output if isinstance(output, Tensor) else output[0]
    return output.square().sum((1, 2)) if len(output) == STEPS else output.square().sum()


def entropy(output, targets) -> Tensor:
    losses = nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view_as(targets).sum(1)


LAYERS = [
    nn.RNN(FEATURES, HIDDEN),
    nn.GRU(FEATURES, HIDDEN),
    nn.LSTM(FEATURES, HIDDEN),
    tt.Gated(FEATURES, HIDDEN, num_layers=2),
    tt.PeepholeLSTM(FEATURES, HIDDEN),
    tt.IndRNN(FEATURES, HIDDEN),
    tt.LRU(FEATURES, HIDDEN),
]
MODELS = [*LAYERS, Tagger(), Mixed(), Packed(), Stepped(nn.GRUCell(FEATURES, HIDDEN)), Stepped(Own()), Final()]
KEYWORDS = [{"loss_steps": 4}, {"max_lag": 3}, {"loss_steps": 4, "max_lag": 3}]


def name_of(model) -> str:
    return type(model).__name__


def given(model: nn.Module, dtype: torch.dtype) -> tuple[nn.Module, Tensor, Tensor | None, object]:
    """A model, its data and its loss, on the CPU."""
    generator = torch.Generator().manual_seed(0)
    model = copy.deepcopy(model).to(dtype)
    if isinstance(model, Tagger):
        inputs, targets = torch.randint(SYMBOLS, (2, STEPS, SAMPLES), generator=generator)
        return model, inputs, targets, entropy
    return model, torch.randn(STEPS, SAMPLES, FEATURES, generator=generator, dtype=dtype), None, squares


def assert_same(found: tt.Examination, expected: tt.Examination, rtol: float, atol: float) -> None:
    assert found.recurrences == expected.recurrences
    for name in expected.recurrences:
        # The smallest of these are the rounding of the largest.
        left, right = found[name], expected[name]
        xr.testing.assert_allclose(
            left.drop_vars("singular_values", errors="ignore"),
            right.drop_vars("singular_values", errors="ignore"),
            rtol,
            atol,
        )
        xr.testing.assert_allclose(found.causes(name), expected.causes(name), rtol, atol)
        for weight in ("weight_ih", "weight_hh"):
            if "weight_ih" in expected._records[name].weight_terms:
                terms = found.weight_terms(name, weight), expected.weight_terms(name, weight)
                xr.testing.assert_allclose(*terms, rtol, atol)


def examined_elsewhere(model, inputs, targets, loss, **keywords) -> tt.Examination:
    with pretending():
        there = None if targets is None else Elsewhere(targets)
        return tt.examine(moved(copy.deepcopy(model)), Elsewhere(inputs), there, loss, **keywords)


@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_no_operation_takes_tensors_of_two_devices(model):
    case = given(model, torch.float64)
    assert_same(examined_elsewhere(*case), tt.examine(*case), 1e-7, 1e-9)


@pytest.mark.parametrize("keywords", KEYWORDS, ids=str)
@pytest.mark.parametrize("model", [Mixed(), Stepped(Own())], ids=name_of)
def test_nor_where_not_all_is_followed(model, keywords):
    case = given(model, torch.float64)
    assert_same(examined_elsewhere(*case, **keywords), tt.examine(*case, **keywords), 1e-7, 1e-9)


def test_what_is_pretended_refuses_what_a_gpu_refuses():
    with pretending():
        there, here = Elsewhere(torch.ones(2)), torch.ones(2)
        assert torch.equal((there + torch.tensor(1.0)).cpu(), here + 1)
        assert there[torch.tensor([0])].device == there.device
        with pytest.raises(RuntimeError, match="expected all tensors on one device"):
            there + here
        with pytest.raises(RuntimeError, match="not supported"):
            there.numpy()


def test_a_device_that_has_no_float64_is_refused():
    with pytest.raises(tt.ExaminationError, match=r"model: weight_ih_l0 is on meta, where models are not followed"):
        tt.examine(nn.RNN(2, 3, device="meta"), torch.ones(4, 1, 2), loss=squares)


def test_inputs_on_another_device_than_the_model():
    model, inputs, targets, loss = given(nn.RNN(FEATURES, HIDDEN), torch.float64)
    with pretending(), pytest.raises(tt.ExaminationError, match=r"inputs: on cpu, and the model is on meta; move"):
        tt.examine(moved(model), inputs, targets, loss)


def test_a_model_on_several_devices():
    model, inputs, targets, loss = given(Mixed(), torch.float64)
    moved(model.second)
    message = r"model: second\.\S+ is on meta, and first\.\S+ on cpu; examine a copy on one device"
    with pretending(), pytest.raises(tt.ExaminationError, match=message):
        tt.examine(model, inputs, targets, loss)


@pytest.mark.parametrize("model", [model for model in MODELS if not isinstance(model, Packed)], ids=name_of)
def test_a_default_device_that_the_model_is_not_on(model):
    case = given(model, torch.float64)
    expected = tt.examine(*case)
    torch.set_default_device("meta")
    try:
        found = tt.examine(*case)
    finally:
        torch.set_default_device(None)
    assert_same(found, expected, 1e-7, 1e-9)


@pytest.mark.gpu
# Of projections on the CPU.
@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("model", MODELS, ids=name_of)
def test_on_a_gpu(model, dtype):
    model, inputs, targets, loss = given(model, dtype)
    expected = tt.examine(model, inputs, targets, loss)
    there = None if targets is None else targets.cuda()
    found = tt.examine(copy.deepcopy(model).cuda(), inputs.cuda(), there, loss)
    assert_same(found, expected, *((1e-6, 1e-8) if dtype == torch.float64 else (1e-2, 1e-3)))


@pytest.mark.gpu
def test_layers_of_ours_run_on_a_gpu():
    for cell in (tt.GRU, tt.LSTM, tt.Gated, tt.MinGRU, tt.IndRNN):
        layer, inputs = cell(FEATURES, HIDDEN), torch.randn(STEPS, SAMPLES, FEATURES)
        expected = layer(inputs)[0]
        # cuDNN's recurrent layers round to TF32 unless they are told not to.
        with torch.backends.cudnn.flags(allow_tf32=False):
            found = copy.deepcopy(layer).cuda()(inputs.cuda())[0]
        torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_a_default_device_that_the_model_is_on():
    model, inputs, targets, loss = given(Tagger(), torch.float64)
    expected = tt.examine(model, inputs, targets, loss)
    torch.set_default_device("cuda")
    try:
        found = tt.examine(copy.deepcopy(model).cuda(), inputs.cuda(), targets.cuda(), loss)
    finally:
        torch.set_default_device(None)
    assert_same(found, expected, 1e-6, 1e-8)


@pytest.mark.gpu
def test_the_memory_of_a_gpu_is_kept():
    torch.manual_seed(0)
    model, inputs = nn.GRU(128, 128).cuda(), torch.randn(60, 8, 128).cuda()

    def loss(output, targets):
        return output[0].square().sum((1, 2))

    def peak(**keywords):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        tt.examine(model, inputs, None, loss, **keywords)
        return torch.cuda.max_memory_allocated() - before

    with pytest.raises(tt.ExaminationError, match="memory: found 0 MiB, but at least") as refused:
        peak(memory=1000)
    least = int(re.search(r"at least (\d+) bytes", str(refused.value))[1])
    assert peak(memory=least) <= 1.2 * least
