"""Loops over torch's single-step cells, as models write them, against the same models recorded while they run."""

import pytest
import torch
from torch import nn

from recorded import check, one_state, recorded

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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ONE_CELL)
def test_one_cell(name, kind):
    if name == "in place" and kind in ("tanh", "relu"):
        pytest.skip("torch itself cannot differentiate through these changed in place")
    check(ONE_CELL[name](kind).double(), drawn(STEPS, BATCH, SIZE), recording("cell"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_call_gets_no_state(kind):
    model = FromNothing(kind).double()

    def record(twin):
        twin.start = twin.zeros(drawn(1, BATCH, 1))
        return recording("cell")(twin)

    check(model, drawn(STEPS, BATCH, SIZE), record)


@pytest.mark.parametrize("kind", KINDS)
def test_given_start(kind):
    start = [drawn(BATCH, SIZE) for _ in range(1 + (kind == "lstm"))]
    check(GivenStart(kind).double(), (drawn(STEPS, BATCH, SIZE), *start), recording("cell"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("build", [TeacherForcing, FromNothing])
def test_without_an_axis_of_samples(build, kind):
    """torch removes the axis that it adds inside; its twin is the same model with one sample."""
    model, inputs = build(kind).double(), drawn(STEPS, SIZE)

    def record(twin):
        if build is FromNothing:
            twin.start = twin.zeros(drawn(1, 1, 1))
        return recording("cell")(twin)

    check(model, inputs, record, loss=lambda output, _: output.square().flatten(1).sum(1), read=inputs.unsqueeze(1))


@pytest.mark.parametrize("kind", KINDS)
def test_without_bias(kind):
    class Model(TeacherForcing):
        def __init__(self):
            super().__init__(kind, bias=False)

    check(Model().double(), drawn(STEPS, BATCH, SIZE), recording("cell"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("build", [TeacherForcing, Feedback])
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


@pytest.mark.parametrize("kind", KINDS)
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


@pytest.mark.parametrize("kind", KINDS)
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


@pytest.mark.parametrize("kind", KINDS)
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


@pytest.mark.parametrize("kind", KINDS)
def test_encoder_and_decoder_of_cells_with_attention(kind):
    check(Attending(kind).double(), drawn(STEPS - 2, BATCH, SIZE), recording("encoder", "decoder"))
