"""Several loops written out in one function, and what a step keeps only to be looked at."""

import pytest
import torch
from torch import nn

import throughtime as tt
from recorded import check, recorded

STEPS, BATCH, SIZE = 6, 3, 4


class Joined(nn.Module):
    """h = tanh(W (x, h)), where it can be recorded."""

    def __init__(self, name, both):
        super().__init__()
        self.name = name
        setattr(self, name, both)

    def forward(self, x, h):
        return torch.tanh(getattr(self, self.name)(torch.cat((x, h), -1)))


class Two(nn.Module):
    """Two such cells; `step` calls one of them."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(2 * SIZE, SIZE), nn.Linear(2 * SIZE, SIZE)
        self.readout = nn.Linear(SIZE, SIZE)


class OneAfterTheOther(Two):
    """An encoder and a decoder that goes on with its last state, in the same variable."""

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            h = torch.tanh(self.one(torch.cat((x, h), -1)))
        x = inputs[-1]
        for _ in range(4):
            h = torch.tanh(self.two(torch.cat((x, h), -1)))
            outputs.append(self.readout(h))
        return torch.stack(outputs)


class BothWays(Two):
    """The second starts anew, in the same variable."""

    def forward(self, inputs):
        h, forth, back = inputs.new_zeros(BATCH, SIZE), [], []
        for x in inputs:
            h = torch.tanh(self.one(torch.cat((x, h), -1)))
            forth.append(h)
        h = inputs.new_zeros(BATCH, SIZE)
        for x in inputs.flip(0):
            h = torch.tanh(self.two(torch.cat((x, h), -1)))
            back.append(h)
        return self.readout(torch.stack(forth) * torch.stack(back[::-1]))


class WithOneModule(Two):
    """The same module for both."""

    def __init__(self):
        super().__init__()
        self.two = self.one

    forward = BothWays.forward


class Bridged(Two):
    """What is made of the last state of the one, in the same variable, is where the other begins."""

    def __init__(self):
        super().__init__()
        self.bridge = nn.Linear(SIZE, SIZE)

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            h = torch.tanh(self.one(torch.cat((x, h), -1)))
        h = self.bridge(h).sigmoid()
        for x in inputs:
            h = torch.tanh(self.two(torch.cat((x, h), -1)))
            outputs.append(self.readout(h))
        h = h * 2
        return torch.stack(outputs) + h


class LayerByLayer(Two):
    def forward(self, inputs):
        for layer in (self.one, self.two):
            h, states = inputs.new_zeros(BATCH, SIZE), []
            for x in inputs:
                h = torch.tanh(layer(torch.cat((x, h), -1)))
                states.append(h)
            inputs = torch.stack(states)
        return self.readout(inputs)


class StepByStep(Two):
    """All layers at every step, their states in a list."""

    def forward(self, inputs):
        states, outputs = [inputs.new_zeros(BATCH, SIZE) for _ in range(2)], []
        for x in inputs:
            for place, layer in enumerate((self.one, self.two)):
                x = states[place] = torch.tanh(layer(torch.cat((x, states[place]), -1)))
            outputs.append(self.readout(x))
        return torch.stack(outputs)


class VariablePerLayer(Two):
    """All layers at every step, a line each."""

    def forward(self, inputs):
        lower, upper = (inputs.new_zeros(BATCH, SIZE) for _ in range(2))
        outputs = []
        for x in inputs:
            lower = torch.tanh(self.one(torch.cat((x, lower), -1)))
            upper = torch.tanh(self.two(torch.cat((lower, upper), -1)))
            outputs.append(self.readout(upper))
        return torch.stack(outputs)


class ItemPerLayer(Two):
    """The same, with their states in a list."""

    def forward(self, inputs):
        h, outputs = [inputs.new_zeros(BATCH, SIZE) for _ in range(2)], []
        for x in inputs:
            h[0] = torch.tanh(self.one(torch.cat((x, h[0]), -1)))
            h[1] = torch.tanh(self.two(torch.cat((h[0], h[1]), -1)))
            outputs.append(self.readout(h[1]))
        return torch.stack(outputs)


class WithCells(nn.Module):
    """A model of the above with the same cells as modules, called by the same function."""

    def __init__(self, written):
        super().__init__()
        names = {id(module): name for name, module in written.named_children()}
        self.one, self.two = (Joined(names[id(one)], one) for one in (written.one, written.two))
        self.kind, self.readout, self.bridge = type(written), written.readout, getattr(written, "bridge", None)

    def forward(self, inputs):
        def through(layer, sequence, h=None):
            h, found = inputs.new_zeros(BATCH, SIZE) if h is None else h, []
            for x in sequence:
                h = getattr(self, layer)(x, h)
                found.append(h)
            return torch.stack(found)

        one = through("one", inputs)
        if self.kind is OneAfterTheOther:
            return self.readout(through("two", [inputs[-1]] * 4, one[-1]))
        if self.kind is Bridged:
            two = through("two", inputs, self.bridge(one[-1]).sigmoid())
            return self.readout(two) + 2 * two[-1]
        if self.kind in (BothWays, WithOneModule):
            return self.readout(one * through("two", inputs.flip(0)).flip(0))
        return self.readout(through("two", one))


@pytest.mark.parametrize(
    "build",
    [
        OneAfterTheOther,
        Bridged,
        BothWays,
        WithOneModule,
        LayerByLayer,
        StepByStep,
        VariablePerLayer,
        ItemPerLayer,
    ],
)
def test_loops_in_one_function(build):
    def record(twin):
        calls = [
            recorded(cell, lambda cell, x, h: {"h": h}, lambda cell, output: {"h": output})
            for cell in (twin.one, twin.two)
        ]
        return {"loop": calls[0], "loop#2": calls[1]}

    torch.manual_seed(0)
    inputs = torch.randn(STEPS, BATCH, SIZE, dtype=torch.float64)
    check(build().double(), inputs, record, twin=WithCells)


class Elman(nn.Module):
    """A state that is what the module returned as it is, beside a readout of the same input."""

    def __init__(self):
        super().__init__()
        self.both, self.readout = nn.Linear(2 * SIZE, SIZE), nn.Linear(2 * SIZE, SIZE)

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            joined = torch.cat((x, h), -1)
            h = self.both(joined)
            outputs.append(self.readout(joined))
        return torch.stack(outputs)


class LinearCell(Joined):
    def forward(self, x, h):
        return self.both(torch.cat((x, h), -1))


class ElmanCell(nn.Module):
    def __init__(self, elman):
        super().__init__()
        self.cell, self.readout = LinearCell("both", elman.both), elman.readout

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            after = self.cell(x, h)
            outputs.append(self.readout(torch.cat((x, h), -1)))
            h = after
        return torch.stack(outputs)


def test_a_state_that_a_module_returned_as_it_is():
    def record(twin):
        return {"loop": recorded(twin.cell, lambda cell, x, h: {"h": h}, lambda cell, output: {"h": output})}

    torch.manual_seed(0)
    inputs = torch.randn(STEPS, BATCH, SIZE, dtype=torch.float64)
    check(Elman().double(), inputs, record, twin=ElmanCell)


class Looking(nn.Module):
    """Keeps something that nobody reads."""

    def __init__(self, kept):
        super().__init__()
        self.both, self.kept, self.all = nn.Linear(2 * SIZE, SIZE), kept, []

    def forward(self, x, h):
        h = torch.tanh(self.both(torch.cat((x, h), -1)))
        if self.kept == "weights":
            self.attention = h.softmax(-1)
        elif self.kept == "a gate":
            self.gate = h.sigmoid()
            h = self.gate * h
        elif self.kept == "a number":
            self.mean = h.mean()
        elif self.kept == "all of them":
            self.all.append(h * 2)
        return h


class Shifting(nn.Module):
    """Reads what it returned two steps ago."""

    def __init__(self):
        super().__init__()
        self.both = nn.Linear(2 * SIZE, SIZE)

    def forward(self, x, one, two):
        return torch.tanh(self.both(torch.cat((x, two), -1))), one


class Dilated(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.readout = Shifting(), nn.Linear(SIZE, SIZE)

    def forward(self, inputs):
        one, two, states = inputs.new_zeros(BATCH, SIZE), inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            one, two = self.cell(x, one, two)
            states.append(one)
        return self.readout(torch.stack(states))


def test_what_is_handed_on_to_be_read_later_is_a_state():
    exam = tt.examine(Dilated(), torch.randn(STEPS, BATCH, SIZE), loss=lambda output, _: output.square().sum((1, 2)))
    assert exam.recurrences == ["cell"]
    assert exam["cell"].attrs["steps"] == STEPS and exam["cell"].sizes["state"] == 2


class Stepping(nn.Module):
    def __init__(self, kept):
        super().__init__()
        self.cell, self.readout = Looking(kept), nn.Linear(SIZE, SIZE)

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            h = self.cell(x, h)
            states.append(h)
        return self.readout(torch.stack(states))


@pytest.mark.parametrize("kept", ["weights", "a gate", "a number", "all of them"])
def test_what_nothing_reads_is_no_state(kept):
    def record(twin):
        return {"cell": recorded(twin.cell, lambda cell, x, h: {"h": h}, lambda cell, output: {"h": output})}

    torch.manual_seed(0)
    inputs = torch.randn(STEPS, BATCH, SIZE, dtype=torch.float64)
    exam = check(Stepping(kept).double(), inputs, record)
    assert exam["cell"].attrs["batch"] == BATCH


class Clamped(Two):
    """Two loops whose gradients the model itself cuts down on their way."""

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for layer in (self.one, self.two):
            for x in inputs:
                h = torch.tanh(layer(torch.cat((x, h), -1)))
                h.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
                outputs.append(h)
        return self.readout(torch.stack(outputs[STEPS:]))


def test_where_no_loop_is_as_it_was_taken_there_is_no_examination():
    with pytest.raises(tt.ExaminationError, match=r"weight terms of one\.\w+ in recurrence 'loop' do not add up"):
        tt.examine(Clamped(), torch.randn(STEPS, BATCH, SIZE), loss=lambda output, _: output.sum((1, 2)))
