"""Which loop is followed where there are several, and what is said of those that cannot be."""

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt
from recorded import check, one_state, per_step, recorded, unrolled

STEPS, BATCH, SIZE = 6, 3, 4


def drawn(*shape):
    return torch.randn(*(shape or (STEPS, BATCH, SIZE)), dtype=torch.float64)


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, x, h):
        return torch.tanh(self.x(x) + self.h(h))


class Several(nn.Module):
    """Two loops of one's own, one of torch's cells, and a layer."""

    def __init__(self):
        super().__init__()
        self.slow, self.fast = Cell(), Cell()
        self.known, self.layer, self.readout = nn.GRUCell(SIZE, SIZE), nn.RNN(SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, inputs):
        slow, fast, known = (inputs.new_zeros(BATCH, SIZE) for _ in range(3))
        outputs = []
        for x in self.layer(inputs)[0].unbind(0):
            slow = self.slow(x, slow)
            fast = self.fast(slow, fast)
            known = self.known(fast, known)
            outputs.append(self.readout(known + slow))
        return torch.stack(outputs)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("names", ["slow", ["known", "slow"], ["layer", "fast"]])
def test_only_what_is_named_is_followed(names):
    def record(twin):
        given = [names] if isinstance(names, str) else names
        layers = unrolled(twin, "layer") if "layer" in given else dict
        cells = {name: _given(twin, name) for name in given if name != "layer"}
        return lambda: layers() | cells

    check(Several().double(), drawn(), record, recurrence=names)


def _given(twin, name):
    cell = getattr(twin, name)
    if isinstance(cell, Cell):
        return recorded(cell, lambda module, x, h: {"h": h}, lambda module, output: {"h": output})
    return recorded(cell, *one_state())


def test_everything_is_followed_where_nothing_is_named():
    def record(twin):
        layers, cells = unrolled(twin, "layer"), {name: _given(twin, name) for name in ("slow", "fast", "known")}
        return lambda: layers() | cells

    check(Several().double(), drawn(), record)


@pytest.mark.parametrize("name", ["slower", "readout"])
def test_a_name_of_nothing_that_is_a_loop(name):
    message = (
        rf"recurrence: '{name}' is not called step by step .*Called so: .*fast.*slow.*Called more than once: .*rea"
    )
    with pytest.raises(tt.ExaminationError, match=message):
        tt.examine(Several().double(), drawn(), loss=per_step, recurrence=name)


def test_a_name_in_a_model_that_calls_nothing_twice():
    with pytest.raises(tt.ExaminationError, match=r"recurrence: 'h' is not called .*Nothing is called more than once"):
        tt.examine(nn.Sequential(nn.Linear(SIZE, SIZE)).double(), drawn(), loss=per_step, recurrence="h")


class Growing(nn.Module):
    """A state that remembers everything."""

    def __init__(self):
        super().__init__()
        self.cell = Appending()

    def forward(self, inputs):
        memory, outputs = inputs[:1], []
        for x in inputs.unbind(0):
            output, memory = self.cell(x, memory)
            outputs.append(output)
        return torch.stack(outputs)


class Appending(nn.Module):
    def __init__(self):
        super().__init__()
        self.score = nn.Linear(SIZE, SIZE)

    def forward(self, x, memory):
        memory = torch.cat([memory, self.score(x).unsqueeze(0)])
        return memory.mean(0).sin(), memory


def test_a_state_that_grows_is_not_followed():
    with pytest.raises(tt.ExaminationError, match=r"'cell'"):
        tt.examine(Growing().double(), drawn(), loss=per_step, recurrence="cell")
    exam = tt.examine(Growing().double(), drawn(), loss=per_step, recurrence="inputs")
    assert exam.recurrences == ["inputs"]


class Exploding(nn.Module):
    def __init__(self, known):
        super().__init__()
        self.known, self.cell = known, nn.GRUCell(SIZE, SIZE) if known else Squaring()

    def forward(self, inputs):
        h, states = inputs.new_ones(BATCH, SIZE), []
        for step, x in enumerate(inputs.unbind(0)):
            h = self.cell(x * (float("inf") if self.known and step == 3 else 1), h)
            states.append(h)
        return torch.stack(states)


class Squaring(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), 1e60, dtype=torch.float64))

    def forward(self, x, h):
        return self.weight * h.square()


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (True, r"model: NaN or inf in recurrence 'cell', first at step 1 of 1, in its input"),
        (False, r"model: the output of cell \(Squaring\) holds NaN or inf, and it is the first to do so"),
    ],
)
def test_where_it_stops_to_be_finite(known, message):
    with pytest.raises(tt.ExaminationError, match=message):
        tt.examine(Exploding(known).double(), drawn(), loss=per_step)


class Unread(nn.Module):
    """A second loop on which no loss depends."""

    def __init__(self):
        super().__init__()
        self.read, self.idle = Cell(), Cell()

    def forward(self, inputs):
        one, other, outputs = *(inputs.new_zeros(BATCH, SIZE) for _ in range(2)), []
        for x in inputs.unbind(0):
            one, other = self.read(x, one), self.idle(x, other)
            outputs.append(one)
        return torch.stack(outputs)


def test_a_loop_that_no_loss_reads():
    exam = tt.examine(Unread().double(), drawn(), loss=per_step)
    assert exam.recurrences == ["read"]
    assert any("does not depend on recurrence 'idle'" in note for note in exam.notes)


class Scoring(nn.Module):
    """A cell among functions that are called as often, none of which is a recurrence."""

    def __init__(self):
        super().__init__()
        self.cell, self.embed, self.readout = Cell(), nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def prepared(self, x):
        return self.embed(x).tanh()

    def said(self, h):
        return self.readout(h).softmax(-1)

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        said = inputs.new_zeros(BATCH, SIZE)
        for x in inputs.unbind(0):
            h = self.cell(self.prepared(x + said), h)
            said = self.said(h)
            outputs.append(said)
        return torch.stack(outputs)


def test_what_only_hands_values_on_is_no_recurrence():
    """The output is fed back through `prepared` and `said`, which get nothing that they returned."""
    check(Scoring().double(), drawn(), lambda twin: {"cell": _given(twin, "cell")})


class Wrapped(nn.Module):
    """A cell inside a module inside a method: one state, three ways to name it."""

    def __init__(self):
        super().__init__()
        self.outer = Around()

    def advance(self, x, h):
        return self.outer(x, h)

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = self.advance(x, h)
            outputs.append(h)
        return torch.stack(outputs)


class Around(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Cell()

    def forward(self, x, h):
        return self.inner(x, h)


def test_nested_calls_are_one_recurrence():
    model, inputs = Wrapped().double(), drawn()
    exam = tt.examine(model, inputs, loss=per_step)
    assert len(exam.recurrences) == 1
    for name in ("outer", "outer.inner", "advance"):
        named = tt.examine(model, inputs, loss=per_step, recurrence=name)
        assert named.recurrences == [name]
        np.testing.assert_allclose(named[name].gradient_map, exam[exam.recurrences[0]].gradient_map, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("loss_steps", "max_lag"), [([2, 5], None), (2, None), ("all", 2)], ids=["some losses", "a number", "some lags"]
)
def test_a_part_of_the_losses_or_lags(loss_steps, max_lag):
    model, inputs = Scoring().double(), drawn()
    whole = tt.examine(model, inputs, loss=per_step)["cell"]
    part = tt.examine(model, inputs, loss=per_step, loss_steps=loss_steps, max_lag=max_lag)
    found = part["cell"].gradient_map
    expected = whole.gradient_map.sel(loss_step=found.loss_step)
    if max_lag is not None:
        expected = expected.where(found.loss_step - found.state_step <= max_lag, -np.inf)
        found = found.where(found.loss_step - found.state_step <= max_lag, -np.inf)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_little_memory(in_parts):
    model, inputs = Scoring().double(), drawn()
    whole = tt.examine(model, inputs, loss=per_step)
    in_parts()
    little = tt.examine(model, inputs, loss=per_step)
    np.testing.assert_allclose(little["cell"].gradient_map, whole["cell"].gradient_map, rtol=0, atol=1e-12)
    for weight in ("x.weight", "h.bias"):
        one, other = (exam.weight_terms("cell", weight).norm for exam in (whole, little))
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-14)


def test_a_scalar_loss_that_stays_whole():
    def total(output, _):
        return output[1:-1].square().sum()

    check(Scoring().double(), drawn(), lambda twin: {"cell": _given(twin, "cell")}, loss=total, loss_steps=[1])


def test_one_step_is_no_loop():
    model, inputs = Scoring().double(), drawn(1, BATCH, SIZE)
    assert tt.examine(model, inputs, loss=per_step, time_axis=0).recurrences == ["inputs"]


def test_a_wrong_name_is_answered_with_the_recurrent_modules():
    model = nn.Sequential(nn.GRU(2, 3))
    with pytest.raises(tt.ExaminationError, match=r"'encoder' is not called .* Recurrent modules: '0'\."):
        tt.examine(model, torch.randn(5, 2, 2), loss=lambda output, _: output[0].sum((1, 2)), recurrence="encoder")
