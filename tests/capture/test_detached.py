"""Truncated backpropagation: what a model detaches between two steps is looked through, as if it had not been.

Every model has its twin without the detaches; what is followed in the one is the gradient of the other.
"""

import pytest
import torch
from torch import nn

from recorded import check, one_state, recorded, unrolled

STEPS, BATCH, SIZE, EVERY = 7, 3, 4, 3
CUTS = [3, 6]


def repackage_hidden(state):
    """torch's example of a word language model has it so."""
    if isinstance(state, torch.Tensor):
        return state.detach()
    return tuple(repackage_hidden(one) for one in state)


def in_place(state):
    for one in state if isinstance(state, tuple) else (state,):
        one.detach_()
    return state


def from_in_place(state):
    return tuple(one.detach_() for one in state) if isinstance(state, tuple) else state.detach_()


def data_of(state):
    return tuple(one.data for one in state) if isinstance(state, tuple) else state.data


WAYS = {
    "detach": lambda state: tuple(one.detach() for one in state) if isinstance(state, tuple) else state.detach(),
    "repackage_hidden": repackage_hidden,
    "detach_": in_place,
    "the result of detach_": from_in_place,
    "data": data_of,
}
# Where a step needs what it returned for its own derivative, torch does not allow to detach that in place.
OUT_OF_PLACE = [way for way in WAYS if "detach_" not in way]


class Cut(nn.Module):
    """A model that cuts its graph in its own way, where `cut` is set."""

    def __init__(self, way):
        super().__init__()
        self.cut, self.readout = WAYS[way], nn.Linear(SIZE, SIZE)

    def between(self, state, step):
        return self.cut(state) if self.cut is not None and step and step % EVERY == 0 else state


def uncut(twin):
    twin.cut = None
    return twin


class OfCell(Cut):
    def __init__(self, way, kind):
        super().__init__(way)
        self.cell = kind(SIZE, SIZE)

    def forward(self, inputs):
        zeros = [inputs.new_zeros(BATCH, SIZE) for _ in range(2)]
        state, states = tuple(zeros) if isinstance(self.cell, nn.LSTMCell) else zeros[0], []
        for step, x in enumerate(inputs.unbind(0)):
            state = self.between(state, step)
            state = self.cell(x, state)
            states.append(state[0] if isinstance(state, tuple) else state)
        return self.readout(torch.stack(states))


class OfLayers(Cut):
    def __init__(self, way, kind):
        super().__init__(way)
        self.layers = kind(SIZE, SIZE, num_layers=2)

    def forward(self, inputs):
        state, outputs = None, []
        for step, chunk in enumerate(inputs.split(EVERY)):
            if state is not None:
                state = self.between(state, step * EVERY)
            output, state = self.layers(chunk, state)
            outputs.append(output)
        return self.readout(torch.cat(outputs))


class Foreign(nn.Module):
    """Two states, h and c."""

    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE, bias=False)

    def forward(self, x, state):
        h, c = state
        h = torch.tanh(self.x(x) + self.h(h) * c.exp())
        return h, 0.9 * c + 0.2 * h


class OfForeign(Cut):
    def __init__(self, way):
        super().__init__(way)
        self.cell = Foreign()

    def forward(self, inputs):
        state, states = tuple(inputs.new_zeros(BATCH, SIZE) for _ in range(2)), []
        for step, x in enumerate(inputs.unbind(0)):
            state = self.between(state, step)
            state = self.cell(x, state)
            states.append(state[0] * state[1])
        return self.readout(torch.stack(states))


class Inline(Cut):
    def __init__(self, way):
        super().__init__(way)
        self.x, self.h = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for step, x in enumerate(inputs.unbind(0)):
            h = self.between(h, step)
            h = torch.tanh(self.x(x) + self.h(h))
            states.append(h)
        return self.readout(torch.stack(states))


class OneCell(nn.Module):
    def __init__(self, x, h):
        super().__init__()
        self.x, self.h = x, h

    def forward(self, x, h):
        return torch.tanh(self.x(x) + self.h(h))


class InlineTwin(nn.Module):
    """The inline loop with a cell that can be recorded, and without its detaches."""

    def __init__(self, model):
        super().__init__()
        self.cell, self.readout = OneCell(model.x, model.h), model.readout

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = self.cell(x, h)
            states.append(h)
        return self.readout(torch.stack(states))


def drawn():
    return torch.randn(STEPS, BATCH, SIZE, dtype=torch.float64)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize(("kind", "way"), [*((nn.LSTMCell, way) for way in WAYS), (nn.GRUCell, "detach")])
def test_cells(kind, way):
    names = ("h", "c") if kind is nn.LSTMCell else ("h",)
    exam = check(
        OfCell(way, kind).double(),
        drawn(),
        lambda twin: {"cell": recorded(twin.cell, *one_state(*names))},
        twin=uncut,
    )
    assert exam["cell"].attrs["detached"] == CUTS


@pytest.mark.parametrize(("kind", "way"), [*((nn.LSTM, way) for way in WAYS), (nn.RNN, "detach")])
def test_layers_in_chunks(kind, way):
    exam = check(OfLayers(way, kind).double(), drawn(), lambda twin: unrolled(twin, "layers"), twin=uncut)
    assert exam["layers.l0"].attrs["detached"] == exam["layers.l1"].attrs["detached"] == CUTS


@pytest.mark.parametrize("way", OUT_OF_PLACE)
def test_a_cell_of_ones_own(way):
    record = one_state("h", "c")
    exam = check(OfForeign(way).double(), drawn(), lambda twin: {"cell": recorded(twin.cell, *record)}, twin=uncut)
    assert exam["cell"].attrs["detached"] == CUTS


@pytest.mark.parametrize("way", OUT_OF_PLACE)
def test_inline(way):
    exam = check(
        Inline(way).double(), drawn(), lambda twin: {"loop": recorded(twin.cell, *one_state())}, twin=InlineTwin
    )
    assert exam["loop"].attrs["detached"] == CUTS


class Keeping(nn.Module):
    """A language model that keeps its state from one call to the next, detached; here, two calls."""

    def __init__(self):
        super().__init__()
        self.layers, self.cut, self.state = nn.LSTM(SIZE, SIZE), True, None

    def forward(self, inputs):
        self.state, outputs = None, []
        for chunk in inputs.split(EVERY):
            output, state = self.layers(chunk, self.state)
            self.state = tuple(one.detach() for one in state) if self.cut else state
            outputs.append(output)
        return torch.cat(outputs)


def test_a_state_that_the_model_keeps_between_chunks():
    exam = check(Keeping().double(), drawn(), lambda twin: unrolled(twin, "layers"), twin=uncut)
    assert exam["layers.l0"].attrs["detached"] == CUTS


class Stopping(nn.Module):
    """Attends to its past states without letting a gradient through the scores; the states themselves are not cut."""

    def __init__(self, cell, cut):
        super().__init__()
        self.cell, self.cut = cell, cut

    def forward(self, inputs):
        h, memory, outputs = inputs.new_zeros(BATCH, SIZE), [], []
        for step, x in enumerate(inputs.unbind(0)):
            if self.cut and step and step % EVERY == 0:
                h = h.detach()
            h = self.cell(x, h)
            memory.append(h)
            past = torch.stack(memory)
            scores = torch.einsum("bh,sbh->sb", h, past.detach()).softmax(0)
            outputs.append(torch.einsum("sb,sbh->bh", scores, past))
        return torch.stack(outputs)


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("known", [False, True])
def test_a_stop_gradient_that_is_no_state_between_steps_stays_one(known, cut):
    cell = nn.GRUCell(SIZE, SIZE) if known else OneCell(nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE))
    exam = check(
        Stopping(cell, cut).double(),
        drawn(),
        lambda twin: {"cell": recorded(twin.cell, *(one_state() if known else (_given_h, _returned_h)))},
        twin=uncut,
    )
    assert exam["cell"].attrs["detached"] == (CUTS if cut else [])


def _given_h(module, x, h):
    return {"h": h}


def _returned_h(module, output):
    return {"h": output}


def test_nothing_detached_is_said_so():
    exam = check(
        uncut(OfForeign("detach")).double(), drawn(), lambda twin: {"cell": recorded(twin.cell, *one_state("h", "c"))}
    )
    assert exam["cell"].attrs["detached"] == []
