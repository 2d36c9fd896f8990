"""What a model does to itself and to what it is given while it runs, and what is left of it afterwards."""

from collections import OrderedDict, deque

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt

STEPS, BATCH, SIZE = 6, 3, 4


def drawn():
    torch.manual_seed(0)
    return torch.randn(STEPS, BATCH, SIZE, dtype=torch.float64)


def summed(output, _):
    return output.square().sum((1, 2))


class KeepsItsState(nn.Module):
    """Goes on at every call from where the last one ended."""

    def __init__(self, kept):
        super().__init__()
        self.recurrence = nn.GRU(SIZE, SIZE)
        self.kept = kept

    def forward(self, inputs):
        output, state = self.recurrence(inputs, self.before())
        self.keep(state.detach())
        return output


class InADict(KeepsItsState):
    def before(self):
        return self.kept.get("h")

    def keep(self, state):
        self.kept["h"] = state


class InANestedDict(InADict):
    def before(self):
        return self.kept["states"].get("h")

    def keep(self, state):
        self.kept["states"]["h"] = state


class InAList(KeepsItsState):
    def before(self):
        return self.kept[-1] if self.kept else None

    def keep(self, state):
        self.kept.append(state)


@pytest.mark.parametrize(
    ("build", "kept"),
    [
        (InADict, {}),
        (InADict, OrderedDict(other=1)),
        (InANestedDict, {"states": {}}),
        (InAList, []),
        (InAList, deque(maxlen=2)),
    ],
)
def test_a_state_in_a_container_is_the_one_from_before(build, kept):
    model, inputs = build(kept).double(), drawn()
    before = repr(kept)
    exam = tt.examine(model, inputs, loss=summed)
    assert model.kept is kept and repr(kept) == before
    alone = tt.examine(model.recurrence, inputs, loss=lambda output, _: summed(output[0], None))
    np.testing.assert_array_equal(exam["recurrence.l0"].gradient_map, alone["l0"].gradient_map)


class Starting(nn.Module):
    """Draws or writes its initial state in its forward pass."""

    def __init__(self, written, recurrence):
        super().__init__()
        self.written = written
        self.recurrence = recurrence

    def forward(self, inputs):
        h, outputs = self.written(torch.empty(BATCH, SIZE, dtype=inputs.dtype)), []
        for x in inputs:
            h = self.recurrence(x, h)
            outputs.append(h)
        return torch.stack(outputs)


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, x, h):
        return torch.tanh(self.x(x) + self.h(h))


class WrittenOut(Starting):
    """The same without a function of its own."""

    def forward(self, inputs):
        h, outputs = self.written(torch.empty(BATCH, SIZE, dtype=inputs.dtype)), []
        for x in inputs:
            h = torch.tanh(self.recurrence.x(x) + self.recurrence.h(h))
            outputs.append(h)
        return torch.stack(outputs)


WAYS = {
    "normal_": (lambda h: nn.init.normal_(h), lambda h: h.normal_()),
    "uniform_": (lambda h: nn.init.uniform_(h), lambda h: h.uniform_()),
    "constant_": (lambda h: nn.init.constant_(h, 0.3), lambda h: torch.full_like(h, 0.3)),
    "out": (lambda h: torch.full(h.shape, 0.3, out=h), lambda h: torch.full_like(h, 0.3)),
    "inplace": (
        lambda h: nn.functional.relu(torch.full_like(h, 0.3), inplace=True),
        lambda h: torch.full_like(h, 0.3),
    ),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("build", "cell"), [(Starting, nn.GRUCell(SIZE, SIZE)), (Starting, Plain()), (WrittenOut, Plain())]
)
def test_an_initial_state_may_be_written_in_the_forward_pass(way, build, cell):
    recurrence, inputs = cell.double(), drawn()
    maps = []
    for written in WAYS[way]:
        torch.manual_seed(1)
        exam = tt.examine(build(written, recurrence), inputs, loss=summed)
        maps.append(exam[exam.recurrences[0]].gradient_map)
    np.testing.assert_allclose(maps[0], maps[1], rtol=1e-12)


def test_a_detach_may_be_called_with_a_keyword():
    class Chunks(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrence = nn.GRU(SIZE, SIZE)

        def forward(self, inputs):
            state, outputs = None, []
            for chunk in inputs.split(2):
                state = None if state is None else torch.detach(input=state)
                output, state = self.recurrence(chunk, state)
                outputs.append(output)
            return torch.cat(outputs)

    exam = tt.examine(Chunks().double(), drawn(), loss=summed)
    assert list(exam["recurrence.l0"].attrs["detached"]) == [2, 4]
