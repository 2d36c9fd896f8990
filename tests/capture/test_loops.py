"""Loops as models write them, against the same models recorded while they run."""

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from recorded import check, one_state, recorded, unrolled

STEPS, BATCH, SIZE = 6, 3, 4
KINDS = {
    "tanh": nn.RNNCell,
    "relu": lambda *a, **k: nn.RNNCell(*a, nonlinearity="relu", **k),
    "gru": nn.GRUCell,
    "lstm": nn.LSTMCell,
}


def hidden(state):
    return state[0] if isinstance(state, tuple) else state


class Looping(nn.Module):
    """A cell, and what models put around it."""

    def __init__(self, kind="gru", features=SIZE, **keywords):
        super().__init__()
        self.cell = KINDS[kind](features, SIZE, **keywords)
        self.readout = nn.Linear(SIZE, SIZE)

    def zeros(self, like, batch=None):
        state = like.new_zeros(*(like.shape[1:-1] if batch is None else (batch,)), SIZE)
        return (state, state.clone()) if isinstance(self.cell, nn.LSTMCell) else state

    def every(self, states):
        return self.readout(torch.stack([hidden(state) for state in states]))


class TeacherForcing(Looping):
    def forward(self, inputs):
        state, states = self.zeros(inputs), []
        for x in inputs.unbind(0):
            state = self.cell(x, state)
            states.append(state)
        return self.every(states)


class FromNothing(Looping):
    """The first call gets no state."""

    start = None

    def forward(self, inputs):
        state, states = self.start, []
        for x in inputs.unbind(0):
            state = self.cell(x) if state is None else self.cell(x, state)
            states.append(state)
        return self.every(states)


class TrainableStart(Looping):
    def __init__(self, kind):
        super().__init__(kind)
        self.starts = nn.ParameterList(torch.randn(1, SIZE) for _ in range(1 + (kind == "lstm")))

    def forward(self, inputs):
        start, states = [start.expand(inputs.shape[1], -1) for start in self.starts], []
        state = tuple(start) if len(start) > 1 else start[0]
        for x in inputs.unbind(0):
            state = self.cell(x, state)
            states.append(state)
        return self.every(states)


class GivenStart(Looping):
    def forward(self, inputs, *start):
        state, states = start if len(start) > 1 else start[0], []
        for x in inputs.unbind(0):
            state = self.cell(x, state)
            states.append(state)
        return self.every(states)


class Feedback(Looping):
    """Reads its own output: the embedding of a softmax."""

    def __init__(self, kind):
        super().__init__(kind)
        self.embedding = nn.Embedding(SIZE, SIZE)

    def forward(self, inputs):
        state, x, outputs = self.zeros(inputs), inputs[0], []
        for _ in range(STEPS):
            state = self.cell(x, state)
            outputs.append(self.readout(hidden(state)))
            x = 2 * outputs[-1].softmax(-1) @ self.embedding.weight
        return torch.stack(outputs)


class Masked(Looping):
    """Every sample has a length of its own."""

    def forward(self, inputs):
        state, states = self.zeros(inputs), []
        running = torch.arange(STEPS).unsqueeze(1) < torch.tensor([STEPS, 2, 4])
        for x, m in zip(inputs.unbind(0), running.to(inputs.dtype).unsqueeze(-1), strict=True):
            new = self.cell(x, state)
            if isinstance(state, tuple):
                state = tuple(m * after + (1 - m) * before for after, before in zip(new, state, strict=True))
            else:
                state = m * new + (1 - m) * state
            states.append(state)
        return self.every(states)


class InPlace(Looping):
    """Changes what the cell returned, where it lies."""

    def forward(self, inputs):
        state, states = self.zeros(inputs), []
        for x in inputs.unbind(0):
            state = self.cell(x, state)
            hidden(state).mul_(1.5).add_(0.1)
            states.append(state)
        return self.every(states)


class Changed(Looping):
    """Passes on something else than what the cell returned."""

    def __init__(self, kind):
        super().__init__(kind)
        self.norm = nn.LayerNorm(SIZE)

    def forward(self, inputs):
        state, states = self.zeros(inputs), []
        for x in inputs.unbind(0):
            state = self.cell(x, state)
            states.append(state)
            state = (self.norm(state[0]), state[1]) if isinstance(state, tuple) else self.norm(state) + 0.3 * x
        return self.every(states)


ONE_CELL = {
    "teacher forcing": TeacherForcing,
    "trainable start": TrainableStart,
    "feedback": Feedback,
    "masked": Masked,
    "in place": InPlace,
    "changed in between": Changed,
}


def drawn(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


def states_in(cell):
    """How the states of a cell are read; None is a state of zeros."""
    names = ("h", "c") if isinstance(cell, nn.LSTMCell) else ("h",)
    return one_state(*names)


def recording(*names):
    """Begins to record the cells of these names."""
    return lambda twin: {
        name: recorded(twin.get_submodule(name), *states_in(twin.get_submodule(name))) for name in names
    }


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# What RNNCell returns cannot be changed in place: torch itself needs it for its derivative.
@pytest.mark.parametrize(
    ("name", "kind"), [(n, k) for n in ONE_CELL for k in KINDS if n == "teacher forcing" or k in ("gru", "lstm")]
)
def test_one_cell(name, kind):
    check(ONE_CELL[name](kind).double(), drawn(STEPS, BATCH, SIZE), recording("cell"))


@pytest.mark.parametrize("kind", ["relu", "gru", "lstm"])
def test_the_first_call_gets_no_state(kind):
    model = FromNothing(kind).double()

    def record(twin):
        twin.start = twin.zeros(drawn(1, BATCH, 1))
        return recording("cell")(twin)

    check(model, drawn(STEPS, BATCH, SIZE), record)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_given_start(kind):
    start = [drawn(BATCH, SIZE) for _ in range(1 + (kind == "lstm"))]
    check(GivenStart(kind).double(), (drawn(STEPS, BATCH, SIZE), *start), recording("cell"))


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("build", [TeacherForcing, FromNothing])
def test_without_an_axis_of_samples(build, kind):
    """torch removes the axis that it adds inside; its twin is the same model with one sample."""
    model, inputs = build(kind).double(), drawn(STEPS, SIZE)

    def record(twin):
        if build is FromNothing:
            twin.start = twin.zeros(drawn(1, 1, 1))
        return recording("cell")(twin)

    check(model, inputs, record, loss=lambda output, _: output.square().flatten(1).sum(1), read=inputs.unsqueeze(1))


@pytest.mark.parametrize("kind", ["tanh", "lstm"])
def test_without_bias(kind):
    class Model(TeacherForcing):
        def __init__(self):
            super().__init__(kind, bias=False)

    check(Model().double(), drawn(STEPS, BATCH, SIZE), recording("cell"))


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("build", [Feedback])
def test_single_precision(build, kind):
    check(build(kind), drawn(STEPS, BATCH, SIZE, dtype=torch.float32), recording("cell"), tolerance=1e-4)


class InputFeeding(nn.Module):
    """Two cells, of which the lower one reads what the upper one said before, with a residual around the upper one."""

    def __init__(self, kind, residual):
        super().__init__()
        self.lower, self.upper = KINDS[kind](2 * SIZE, SIZE), KINDS[kind](SIZE, SIZE)
        self.residual, self.two = residual, kind == "lstm"

    def forward(self, inputs):
        zeros = [inputs.new_zeros(BATCH, SIZE) for _ in range(5)]
        low, high = (tuple(zeros[:2]), tuple(zeros[2:4])) if self.two else zeros[:2]
        fed, outputs = zeros[4], []
        for x in inputs.unbind(0):
            low = self.lower(torch.cat([x, fed], -1), low)
            high = self.upper(hidden(low), high)
            fed = hidden(high) + (hidden(low) if self.residual else 0)
            outputs.append(fed)
        return torch.stack(outputs)


@pytest.mark.parametrize("kind", ["tanh", "lstm"])
@pytest.mark.parametrize("residual", [False, True])
def test_stacked_cells_with_input_feeding(kind, residual):
    check(InputFeeding(kind, residual).double(), drawn(STEPS, BATCH, SIZE), recording("lower", "upper"))


class BothWays(nn.Module):
    """One cell from the front and one from the back; the loss of a step reads both."""

    def __init__(self, kind):
        super().__init__()
        self.front, self.back = KINDS[kind](SIZE, SIZE), KINDS[kind](SIZE, SIZE)
        self.two = kind == "lstm"

    def along(self, cell, steps):
        zeros = steps[0].new_zeros(2, BATCH, SIZE).unbind(0)
        state, states = (tuple(zero.clone() for zero in zeros) if self.two else zeros[0].clone()), []
        for x in steps:
            state = cell(x, state)
            states.append(hidden(state))
        return states

    def forward(self, inputs):
        steps = list(inputs.unbind(0))
        front, back = self.along(self.front, steps), self.along(self.back, steps[::-1])[::-1]
        return torch.stack([one * other.exp() for one, other in zip(front, back, strict=True)])


@pytest.mark.parametrize("kind", ["relu", "lstm"])
def test_both_ways(kind):
    """The cell that is called from the back numbers its steps in the order in which it is called."""
    check(BothWays(kind).double(), drawn(STEPS, BATCH, SIZE), recording("front", "back"))


class Shared(Looping):
    """One cell for two sequences, step by step in turns or one after the other."""

    def __init__(self, kind, turns):
        super().__init__(kind)
        self.turns = turns

    def forward(self, inputs):
        order = range(2 * STEPS)
        order = [(step // 2, step % 2) if self.turns else (step % STEPS, step // STEPS) for step in order]
        states, found = [self.zeros(inputs), self.zeros(inputs)], [[], []]
        for step, one in order:
            states[one] = self.cell(inputs[step] * (1 - 3 * one), states[one])
            found[one].append(states[one])
        return self.every(found[0]) * self.every(found[1])


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("turns", [True, False])
def test_a_cell_shared_by_two_sequences(kind, turns):
    def record(twin):
        calls = recording("cell")(twin)["cell"]
        one, other = (slice(0, None, 2), slice(1, None, 2)) if turns else (slice(0, STEPS), slice(STEPS, None))
        return lambda: {"cell": calls[one], "cell#2": calls[other]}

    check(Shared(kind, turns).double(), drawn(STEPS, BATCH, SIZE), record)


class Attending(nn.Module):
    """An encoder and a decoder of cells; the decoder attends to the encoder's states, of which there are fewer."""

    def __init__(self, kind):
        super().__init__()
        self.encoder, self.decoder = KINDS[kind](SIZE, SIZE), KINDS[kind](2 * SIZE, SIZE)
        self.bridge, self.embedding = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)
        self.two = kind == "lstm"

    def forward(self, inputs):
        zeros = [inputs.new_zeros(BATCH, SIZE) for _ in range(4)]
        state, memory = (tuple(zeros[:2]) if self.two else zeros[0]), []
        for x in inputs.unbind(0):
            state = self.encoder(x, state)
            memory.append(hidden(state))
        memory = torch.stack(memory)
        state = tuple(self.bridge(one) for one in state) if self.two else self.bridge(state)
        outputs, said, context = [], *zeros[2:]
        for _ in range(STEPS):
            state = self.decoder(torch.cat([said, context], -1), state)
            weights = torch.einsum("bh,sbh->sb", hidden(state), memory).softmax(0)
            context = torch.einsum("sb,sbh->bh", weights, memory)
            outputs.append(hidden(state) + context)
            said = self.embedding(outputs[-1]).tanh()
        return torch.stack(outputs)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_encoder_and_decoder_of_cells_with_attention(kind):
    check(Attending(kind).double(), drawn(STEPS - 2, BATCH, SIZE), recording("encoder", "decoder"))


class Decoder(nn.Module):
    """A layer that is called with one step at a time and reads its own output, between layers over whole sequences."""

    def __init__(self, kind, place):
        super().__init__()
        self.decoder = kind(SIZE, SIZE, num_layers=2)
        self.readout, self.place = nn.Linear(SIZE, SIZE), place
        self.other = nn.GRU(SIZE, SIZE) if place == "above" else kind(SIZE, SIZE, num_layers=2)

    def forward(self, inputs):
        state = self.other(inputs[1:])[1] if self.place == "below" else None
        x, outputs = inputs[:1], []
        for _ in range(STEPS):
            output, state = self.decoder(x, state)
            outputs.append(output)
            x = 2 * self.readout(output).softmax(-1)
        states = torch.cat(outputs)
        return self.other(states)[0] if self.place == "above" else states


@pytest.mark.parametrize(
    ("place", "kind"), [("below", nn.RNN), ("below", nn.LSTM), ("above", nn.GRU), ("above", nn.LSTM)]
)
def test_a_layer_called_step_by_step(place, kind):
    check(Decoder(kind, place).double(), drawn(5, BATCH, SIZE), lambda twin: unrolled(twin, "other", "decoder"))


@dataclass
class Memory:
    h: torch.Tensor
    c: torch.Tensor


Pair = namedtuple("Pair", "h c")
# How two states are put together, and taken apart.
FORMS = {
    "tuple": (lambda h, c: (h, c), lambda state: state),
    "list": (lambda h, c: [h, c], lambda state: state),
    "dict": (lambda h, c: {"h": h, "c": c}, lambda state: (state["h"], state["c"])),
    "dataclass": (Memory, lambda state: (state.h, state.c)),
    "namedtuple": (Pair, lambda state: (state.h, state.c)),
    "nested": (lambda h, c: {"memory": (h, [c])}, lambda state: (state["memory"][0], state["memory"][1][0])),
}


class TwoStates(nn.Module):
    """A cell of one's own: h is fast, c is slow."""

    def __init__(self, form="tuple"):
        super().__init__()
        self.form = form
        self.x, self.h, self.c = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE, bias=False), nn.Linear(SIZE, SIZE)

    def start(self, batch):
        zeros = [self.x.weight.new_zeros(batch, SIZE) for _ in range(2)]
        return FORMS[self.form][0](*zeros)

    def forward(self, x, state):
        pack, parts = FORMS[self.form]
        h, c = parts(state)
        h = torch.tanh(self.x(x) + self.h(h) * c.exp())
        c = 0.9 * c + 0.3 * torch.sigmoid(self.c(h))
        return h * c, pack(h, c)

    def given(self, module, x, state):
        return dict(zip("hc", FORMS[self.form][1](state), strict=True))

    def returned(self, module, output):
        return dict(zip("hc", FORMS[self.form][1](output[1]), strict=True))


class ThreeStates(TwoStates):
    def start(self, batch):
        return tuple(self.x.weight.new_zeros(batch, size) for size in (SIZE, SIZE, 1))

    def forward(self, x, state):
        h, c, n = state
        y, (h, c) = super().forward(x, (h, c))
        n = n + h.square().sum(-1, keepdim=True)
        return y / (1 + n), (h, c, n)

    def given(self, module, x, state):
        return dict(zip(("h", "c", "s3"), state, strict=True))

    def returned(self, module, output):
        return dict(zip(("h", "c", "s3"), output[1], strict=True))


class OneState(nn.Module):
    """A cell that returns what it says and its state; what it does is defined by `update`."""

    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE, bias=False)

    def start(self, batch):
        return self.x.weight.new_zeros(batch, SIZE)

    def forward(self, x, state):
        state = self.update(x, state)
        return state, state

    def update(self, x, h):
        return torch.tanh(self.x(x) + self.h(h))

    def given(self, module, x, state):
        return {"h": state}

    def returned(self, module, output):
        return {"h": output[1]}


class Leaky(OneState):
    """With numbers as parameters, each for all units."""

    def __init__(self):
        super().__init__()
        self.leak, self.gain = nn.Parameter(torch.tensor(0.3)), nn.Parameter(torch.tensor([1.4]))

    def update(self, x, h):
        return (1 - self.leak) * h + self.leak * torch.tanh(self.gain * (self.x(x) + self.h(h)))


class Normed(OneState):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(SIZE)

    def update(self, x, h):
        return torch.tanh(self.norm(self.x(x) + self.h(h)))


class Dropping(OneState):
    def update(self, x, h):
        return super().update(x, nn.functional.dropout(h, 0.4, self.training))


class Zoneout(OneState):
    """Units keep their value by chance."""

    def update(self, x, h):
        kept = torch.rand_like(h) < 0.4
        return torch.where(kept, h, super().update(x, h))


class Rotating(OneState):
    """A diagonal of complex numbers, as in linear recurrent units."""

    def __init__(self):
        super().__init__()
        self.decay, self.angle = nn.Parameter(torch.rand(SIZE)), nn.Parameter(torch.rand(SIZE))

    def start(self, batch):
        return torch.zeros(batch, SIZE, dtype=torch.complex128)

    def forward(self, x, state):
        state = torch.exp(-self.decay + 1j * self.angle) * state + self.x(x)
        return self.h(state.real) * state.imag, state


class Convolving(nn.Module):
    """States (batch, channels, height, width); the input is spread over the image."""

    def __init__(self):
        super().__init__()
        self.gates = nn.Conv2d(SIZE, 8, 3, padding=1)

    def start(self, batch):
        return tuple(self.gates.weight.new_zeros(batch, 2, 3, 3) for _ in range(2))

    def forward(self, x, state):
        h, c = state
        image = torch.cat([x[:, :2, None, None].expand(-1, -1, 3, 3) * torch.arange(1, 4), h], 1)
        i, f, g, o = self.gates(image).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return h[:, :, 0, 1:].flatten(1), (h, c)

    given, returned = TwoStates.given, TwoStates.returned
    form = "tuple"


FOREIGN = {
    **{form: lambda form=form: TwoStates(form) for form in FORMS},
    "three states": ThreeStates,
    "numbers as parameters": Leaky,
    "norm": Normed,
    "dropout": Dropping,
    "zoneout": Zoneout,
    "complex": Rotating,
    "convolution": Convolving,
}


class Stepping(nn.Module):
    """Any cell in a loop, with its own output fed back or not."""

    def __init__(self, cell, feedback):
        super().__init__()
        self.cell, self.feedback, self.readout = cell, feedback, nn.Linear(SIZE, SIZE)

    def forward(self, inputs):
        state, outputs, fed = self.cell.start(inputs.shape[1]), [], 0.0
        for x in inputs.unbind(0):
            output, state = self.cell(x + fed, state)
            outputs.append(output)
            fed = self.readout(output).softmax(-1) if self.feedback else 0.0
        return torch.stack(outputs)


def cell_of(twin):
    cell = twin.cell
    calls = recorded(cell, cell.given, cell.returned)
    return {"cell": calls}


@pytest.mark.parametrize(
    ("name", "feedback"),
    [*((name, True) for name in FOREIGN), ("tuple", False), ("dropout", False), ("complex", False)],
)
def test_a_cell_of_ones_own(name, feedback):
    model = Stepping(FOREIGN[name](), feedback).double()
    without = ("h.weight",) if name == "complex" else ()
    check(model, drawn(STEPS, BATCH, SIZE), cell_of, without=without if not feedback else ())


def test_a_cell_of_ones_own_in_single_precision():
    check(Stepping(TwoStates(), True), drawn(STEPS, BATCH, SIZE, dtype=torch.float32), cell_of, tolerance=1e-4)


class Keeping(OneState):
    """Keeps its state for itself."""

    def forward(self, x):
        self.state = self.update(x, self.state)
        return self.state


class OfKeeping(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell = Keeping()
        self.cell.state = None

    def forward(self, inputs):
        self.cell.state = self.cell.start(BATCH)
        return torch.stack([self.cell(x) * 2 for x in inputs.unbind(0)])


def test_a_state_that_a_module_keeps():
    def record(twin):
        return {"cell": recorded(twin.cell, lambda cell, x: {"h": cell.state}, lambda cell, output: {"h": cell.state})}

    check(OfKeeping().double(), drawn(STEPS, BATCH, SIZE), record)


class Reordered(nn.Module):
    """Its state comes first, or by name."""

    def __init__(self, by_name):
        super().__init__()
        self.cell, self.by_name = Ordered(), by_name

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = self.cell(x=x, state=h) if self.by_name else self.cell(h, x)
            states.append(h)
        return torch.stack(states)


class Ordered(OneState):
    def forward(self, state, x):
        return self.update(x, state)


@pytest.mark.parametrize("by_name", [True, False])
def test_the_state_is_the_first_argument_or_named(by_name):
    def record(twin):
        return {"cell": recorded(twin.cell, lambda cell, state, x: {"h": state}, lambda cell, output: {"h": output})}

    check(Reordered(by_name).double(), drawn(STEPS, BATCH, SIZE), record)


class Written(nn.Module):
    """h = tanh(W_x x + W_h h), of which the ways to write it differ."""

    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE, bias=False)
        self.readout = nn.Linear(SIZE, SIZE)


class AsCell(nn.Module):
    """The same with a cell that can be recorded; its weights are those of a `Written`."""

    def __init__(self, written):
        super().__init__()
        self.cell, self.readout = OneState(), written.readout
        self.cell.x, self.cell.h = written.x, written.h

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = self.cell(x, h)[1]
            states.append(h)
        return self.readout(torch.stack(states))


class WithMethod(Written):
    name = "step"

    def step(self, x, h):
        return torch.tanh(self.x(x) + self.h(h))

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = self.step(x, h)
            states.append(h)
        return self.readout(torch.stack(states))


def advance(x, h, weight_x, bias_x, weight_h):
    return torch.tanh(nn.functional.linear(x, weight_x, bias_x) + h @ weight_h.T)


class WithFunction(Written):
    name = "advance"

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = advance(x, h, self.x.weight, self.x.bias, self.h.weight)
            states.append(h)
        return self.readout(torch.stack(states))


class WithClosure(Written):
    name = "following"

    def forward(self, inputs):
        def following(x, h):
            return torch.tanh(self.x(x) + self.h(h))

        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = following(x, h)
            states.append(h)
        return self.readout(torch.stack(states))


class Inline(Written):
    name = "loop"

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = torch.tanh(self.x(x) + self.h(h))
            states.append(h)
        return self.readout(torch.stack(states))


class InlineByIndex(Written):
    """Writes into a tensor of all states, as textbooks do."""

    name = "loop"

    def forward(self, inputs):
        h = torch.zeros(BATCH, SIZE, dtype=inputs.dtype)
        outputs = []
        for step in range(len(inputs)):
            h = self.h(h)
            h = torch.tanh(h + self.x(inputs[step]))
            outputs.append(self.readout(h))
        return torch.stack(outputs, 0)


@pytest.mark.parametrize("build", [WithMethod, WithFunction, WithClosure, Inline, InlineByIndex])
def test_without_a_module_for_the_cell(build):
    def record(twin):
        return {build.name: cell_of(twin)["cell"]}

    check(build().double(), drawn(STEPS, BATCH, SIZE), record, twin=AsCell)


class Joined(nn.Module):
    """One matrix for input and state."""

    def __init__(self):
        super().__init__()
        self.both, self.readout = nn.Linear(2 * SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, inputs):
        hidden, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            hidden = torch.tanh(self.both(torch.cat((x, hidden), -1)))
            outputs.append(self.readout(hidden))
        return torch.stack(outputs)


class JoinedCell(OneState):
    def __init__(self, both):
        nn.Module.__init__(self)
        self.both = both

    def start(self, batch):
        return self.both.weight.new_zeros(batch, SIZE)

    def update(self, x, h):
        return torch.tanh(self.both(torch.cat((x, h), -1)))


class Long(nn.Module):
    """An LSTM written out."""

    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Linear(SIZE, 4 * SIZE), nn.Linear(SIZE, 4 * SIZE, bias=False)
        self.readout = nn.Linear(SIZE, SIZE)

    def forward(self, inputs):
        h, c = inputs.new_zeros(BATCH, SIZE), inputs.new_zeros(BATCH, SIZE)
        outputs = []
        for x in inputs.unbind(0):
            i, f, g, o = (self.x(x) + self.h(h)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(self.readout(h))
        return torch.stack(outputs)


class LongCell(OneState):
    def __init__(self, x, h):
        nn.Module.__init__(self)
        self.x, self.h = x, h

    def forward(self, x, state):
        h, c = state
        i, f, g, o = (self.x(x) + self.h(h)).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)

    def start(self, batch):
        return tuple(self.x.weight.new_zeros(batch, SIZE) for _ in range(2))

    given, returned = TwoStates.given, TwoStates.returned
    form = "tuple"


def outputs_read(cell, readout):
    stepping = Stepping(cell, False)
    return nn.Sequential(stepping, readout)


INLINE = {
    "input and state joined": (Joined, lambda model: outputs_read(JoinedCell(model.both), model.readout)),
    "an LSTM written out": (Long, lambda model: outputs_read(LongCell(model.x, model.h), model.readout)),
}


@pytest.mark.parametrize("name", INLINE)
@pytest.mark.parametrize("inside", [False, True])
def test_inline(name, inside):
    """A loop in the forward function of the model, or in that of a module inside."""
    build, twin = INLINE[name]
    model = nn.Sequential(nn.Identity(), build()) if inside else build()

    def record(same):
        return {"1" if inside else "loop": cell_of(same[0])["cell"]}

    check(model.double(), drawn(STEPS, BATCH, SIZE), record, twin=lambda own: twin(own[1] if inside else own).double())


class Sandwich(nn.Module):
    """A layer, whose output goes into a cell of one's own, whose output goes into another layer."""

    def __init__(self):
        super().__init__()
        self.below, self.cell, self.above = nn.LSTM(SIZE, SIZE), TwoStates(), nn.GRU(SIZE, SIZE, num_layers=2)

    def forward(self, inputs):
        below, _ = self.below(inputs)
        state, between = self.cell.start(BATCH), []
        for x in below.unbind(0):
            output, state = self.cell(x, state)
            between.append(output)
        between = torch.stack(between)
        above, last = self.above(between, torch.stack([state[0], state[1].tanh()]))
        return torch.cat([below, between * below.flip(0), above, last.sum(0).expand_as(above)], -1)


def test_layers_around_a_cell_of_ones_own():
    def record(twin):
        layers, cell = unrolled(twin, "below", "above"), cell_of(twin)
        return lambda: layers() | cell

    check(Sandwich().double(), drawn(STEPS, BATCH, SIZE), record)
