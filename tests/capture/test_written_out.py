"""The ways to write a loop out: where the state is kept, who runs it, and weights without a module around them."""

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt
from recorded import check, one_state, recorded

STEPS, BATCH, SIZE = 6, 3, 4


class Written(nn.Module):
    """h = tanh(W (x, h))."""

    def __init__(self):
        super().__init__()
        self.both, self.readout = nn.Linear(2 * SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def step(self, x, h):
        return torch.tanh(self.both(torch.cat((x, h), -1)))


class InAList(Written):
    def forward(self, inputs):
        states = [inputs.new_zeros(BATCH, SIZE)]
        for x in inputs:
            states.append(torch.tanh(self.both(torch.cat((x, states[-1]), -1))))
        return self.readout(torch.stack(states[1:]))


class ByIndex(Written):
    def forward(self, inputs):
        states = [inputs.new_zeros(BATCH, SIZE)]
        for step in range(len(inputs)):
            states.append(torch.tanh(self.both(torch.cat((inputs[step], states[step]), -1))))
        return self.readout(torch.stack(states[1:]))


class InAListThatIsThere(Written):
    """As one writes it who has allocated arrays before."""

    def forward(self, inputs):
        states = [inputs.new_zeros(BATCH, SIZE)] + [None] * len(inputs)
        for step in range(len(inputs)):
            states[step + 1] = torch.tanh(self.both(torch.cat((inputs[step], states[step]), -1)))
        return self.readout(torch.stack(states[1:]))


class InADict(Written):
    """By step, and before the first one at -1."""

    def forward(self, inputs):
        states = {-1: inputs.new_zeros(BATCH, SIZE)}
        for step in range(len(inputs)):
            states[step] = torch.tanh(self.both(torch.cat((inputs[step], states[step - 1]), -1)))
        return self.readout(torch.stack([states[step] for step in range(len(inputs))]))


class AsAttribute(Written):
    def forward(self, inputs):
        self.h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            self.h = torch.tanh(self.both(torch.cat((x, self.h), -1)))
            outputs.append(self.readout(self.h))
        return torch.stack(outputs)


class InAComprehension(Written):
    def forward(self, inputs):
        h = inputs.new_zeros(BATCH, SIZE)
        return self.readout(torch.stack([h := torch.tanh(self.both(torch.cat((x, h), -1))) for x in inputs]))


class FromAGenerator(Written):
    def states(self, inputs):
        h = inputs.new_zeros(BATCH, SIZE)
        for x in inputs:
            h = torch.tanh(self.both(torch.cat((x, h), -1)))
            yield h

    def forward(self, inputs):
        return self.readout(torch.stack(list(self.states(inputs))))


class FromAGeneratorLeftEarly(FromAGenerator):
    """One that would go on for ever."""

    def forward(self, inputs):
        states = self.states(torch.cat((inputs, inputs)))
        return self.readout(torch.stack([h for _, h in zip(inputs, states, strict=False)]))


class Cell(nn.Module):
    """The same step as a module, with the weights of a model of the above."""

    def __init__(self, written):
        super().__init__()
        self.both = written.both

    def forward(self, x, h):
        return Written.step(self, x, h)


class Scratch(nn.Module):
    """Weights alone, as textbooks have them."""

    def __init__(self):
        super().__init__()
        self.w_xh, self.w_hh = (nn.Parameter(torch.randn(SIZE, SIZE) / 2) for _ in range(2))
        self.b_h, self.w_ho = nn.Parameter(torch.randn(SIZE)), nn.Parameter(torch.randn(SIZE, SIZE))

    def step(self, x, h):
        return torch.tanh(x @ self.w_xh + h @ self.w_hh + self.b_h)

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            h = torch.tanh(x @ self.w_xh + h @ self.w_hh + self.b_h)
            outputs.append(h @ self.w_ho)
        return torch.stack(outputs)


class ByFunctions(Scratch):
    """Functions of torch, of which some are written in Python, and the input of all steps at once."""

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in torch.einsum("tbi,ij->tbj", inputs, self.w_xh):
            h = torch.tanh(x + torch.einsum("bi,ij->bj", h, self.w_hh) + self.b_h)
            outputs.append(torch.matmul(h, self.w_ho))
        return torch.stack(outputs)


class InPlace(Scratch):
    """The sum is made in place; the weights come from a dict."""

    def forward(self, inputs):
        weights = dict(self.named_parameters())
        states = [inputs.new_zeros(BATCH, SIZE)]
        for x in inputs:
            total = torch.mm(states[-1], weights["w_hh"])
            total += torch.addmm(weights["b_h"], x, weights["w_xh"])
            states.append(total.tanh())
        return torch.stack(states[1:]) @ self.w_ho


class Signed(Scratch):
    """Units that excite or inhibit: the weight is made of another one, before the loop or at every step."""

    def __init__(self, once):
        super().__init__()
        self.once = once
        self.register_buffer("sign", torch.tensor([1.0, 1.0, 1.0, -1.0]).unsqueeze(1))

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        weight = self.w_hh.abs() * self.sign
        for x in inputs:
            if not self.once:
                weight = self.w_hh.abs() * self.sign
            h = torch.tanh(inputs.new_ones(SIZE) * x + h @ weight)
            states.append(h)
        return torch.stack(states) @ self.w_ho


class SignedCell(nn.Module):
    def __init__(self, signed):
        super().__init__()
        self.w_hh, self.sign = signed.w_hh, signed.sign

    def forward(self, x, h):
        return torch.tanh(x + h @ (self.w_hh.abs() * self.sign))


class ScratchCell(nn.Module):
    """The same step as a module."""

    def __init__(self, scratch):
        super().__init__()
        self.w_xh, self.w_hh, self.b_h = scratch.w_xh, scratch.w_hh, scratch.b_h

    def forward(self, x, h):
        return Scratch.step(self, x, h)


class Twin(nn.Module):
    """A cell called step by step, and a readout."""

    def __init__(self, cell, readout):
        super().__init__()
        self.cell, self.read, self.start = cell, readout, None

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE) if self.start is None else self.start.expand(BATCH, SIZE), []
        for x in inputs:
            h = self.cell(x, h)
            states.append(h)
        return self.read(torch.stack(states))


class Product(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, states):
        return states @ self.weight


def drawn():
    return torch.randn(STEPS, BATCH, SIZE, dtype=torch.float64)


def summed(output, targets):
    return (output - targets).square().sum((1, 2))


def record(twin):
    return {"loop": recorded(twin.cell, *one_state())}


@pytest.mark.parametrize(
    "build",
    [
        InAList,
        ByIndex,
        InAListThatIsThere,
        InADict,
        AsAttribute,
        InAComprehension,
        FromAGenerator,
        FromAGeneratorLeftEarly,
    ],
)
def test_where_the_state_is(build):
    check(build().double(), drawn(), record, twin=lambda own: Twin(Cell(own), own.readout))


@pytest.mark.parametrize("build", [Scratch, ByFunctions, InPlace])
def test_weights_without_modules(build):
    without = ("w_xh",) if build is ByFunctions else ()
    check(
        build().double(),
        drawn(),
        record,
        twin=lambda own: Twin(ScratchCell(own), Product(own.w_ho)),
        without=without,
    )


@pytest.mark.parametrize("once", [True, False])
def test_weights_made_of_others(once):
    """What is made once for all steps has no terms of its own."""
    exam = check(
        Signed(once).double(),
        drawn(),
        record,
        twin=lambda own: Twin(SignedCell(own), Product(own.w_ho)),
        without=("w_hh",) if once else (),
    )
    assert [*exam.relative_errors("loop")] == ([] if once else ["w_hh"])


def test_a_parametrized_weight():
    model = nn.Sequential(InAList())
    nn.utils.parametrizations.weight_norm(model[0].both)
    inputs = drawn()
    exam = tt.examine(model.double(), inputs, torch.zeros_like(inputs), loss=summed)
    assert exam.recurrences == ["0"]
    assert max(exam.relative_errors("0").values()) < 1e-12


class ScratchLSTM(nn.Module):
    """A weight for every gate, in a list."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(2 * SIZE, SIZE) / 2 for _ in range(4))

    def forward(self, inputs):
        hidden, cell, outputs = inputs.new_zeros(BATCH, SIZE), inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            both = torch.cat((x, hidden), -1)
            i, f, o = (torch.sigmoid(both @ self.weights[gate]) for gate in range(3))
            cell = f * cell + i * torch.tanh(both @ self.weights[3])
            hidden = o * torch.tanh(cell)
            outputs.append(hidden)
        return torch.stack(outputs)


class ScratchLSTMCell(ScratchLSTM):
    def forward(self, x, state):
        hidden, cell = state
        both = torch.cat((x, hidden), -1)
        i, f, o = (torch.sigmoid(both @ self.weights[gate]) for gate in range(3))
        cell = f * cell + i * torch.tanh(both @ self.weights[3])
        return o * torch.tanh(cell), cell


class LSTMTwin(nn.Module):
    def __init__(self, own):
        super().__init__()
        self.cell = ScratchLSTMCell()
        self.cell.weights = own.weights

    def forward(self, inputs):
        state, outputs = (inputs.new_zeros(BATCH, SIZE), inputs.new_zeros(BATCH, SIZE)), []
        for x in inputs:
            state = self.cell(x, state)
            outputs.append(state[0])
        return torch.stack(outputs)


@pytest.mark.parametrize("inside", [False, True])
def test_an_lstm_of_weights(inside):
    model = nn.Sequential(nn.Identity(), ScratchLSTM()) if inside else ScratchLSTM()

    def record(twin):
        return {"1" if inside else "loop": recorded(twin.cell, *one_state("h", "c"))}

    check(model.double(), drawn(), record, twin=lambda own: LSTMTwin(own[1] if inside else own).double())


def test_a_loop_may_be_named_as_it_was_found():
    model, inputs = Scratch().double(), drawn()
    found = tt.examine(model, inputs, torch.zeros_like(inputs), loss=summed)
    named = tt.examine(model, inputs, torch.zeros_like(inputs), loss=summed, recurrence="loop")
    assert found.recurrences == named.recurrences == ["loop"]
    assert found["loop"]["gradient_map"].equals(named["loop"]["gradient_map"])
    assert found["loop"].attrs["cell"] == "Scratch"


class Deep(nn.Module):
    """What layers share, in a stack and in a loop over it, and a weight in a loop in which nothing comes back."""

    def __init__(self):
        super().__init__()
        self.slope, self.weight = nn.Parameter(torch.ones(SIZE)), nn.Parameter(torch.eye(SIZE))
        self.layers, self.shared = nn.ModuleList(nn.Linear(SIZE, SIZE) for _ in range(11)), nn.PReLU()

    def forward(self, inputs):
        h = self.shared(self.layers[0](inputs))
        h = self.shared(self.layers[1](h))
        h = self.shared(self.layers[2](h))
        for layer in self.layers[3:7]:
            h = h + self.slope * layer(h)
        for layer in self.layers[7:]:
            h = h + layer(self.shared(h))
        return torch.stack([torch.tanh(x @ self.weight) for x in h])


def test_what_is_no_loop():
    inputs = drawn()
    exam = tt.examine(Deep().double(), inputs, torch.zeros_like(inputs), loss=summed)
    assert exam.recurrences == ["inputs"]


class OverTwoSteps(Written):
    """Reads what it made two steps ago, too, in a variable of its own."""

    def forward(self, inputs):
        h, before, states = inputs.new_zeros(BATCH, SIZE), inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            new = torch.tanh(self.both(torch.cat((x, h), -1)) + 0.3 * before)
            before, h = h, new
            states.append(h)
        return self.readout(torch.stack(states))


class TwoStepCell(nn.Module):
    def __init__(self, written):
        super().__init__()
        self.both = written.both

    def forward(self, x, state):
        h, before = state
        return torch.tanh(self.both(torch.cat((x, h), -1)) + 0.3 * before), h.clone()


class TwoStepTwin(nn.Module):
    def __init__(self, own):
        super().__init__()
        self.cell, self.readout = TwoStepCell(own), own.readout

    def forward(self, inputs):
        state, states = (inputs.new_zeros(BATCH, SIZE), inputs.new_zeros(BATCH, SIZE)), []
        for x in inputs:
            state = self.cell(x, state)
            states.append(state[0])
        return self.readout(torch.stack(states))


def test_a_state_of_two_steps_ago():
    """The weight terms are all there; the state that is handed on is the other one, and has what it has."""
    model, inputs = OverTwoSteps().double(), drawn()
    exam = tt.examine(model, inputs, torch.zeros_like(inputs), loss=summed)
    twin = tt.examine(TwoStepTwin(model), inputs, torch.zeros_like(inputs), loss=summed)
    own, other = (
        one.weight_terms(*name).norm for one, name in ((exam, ("loop", "both.weight")), (twin, ("cell", "both.weight")))
    )
    np.testing.assert_allclose(own, other, rtol=1e-9)
    assert exam.reach() == {"loop": twin.reach()["cell"]}
    assert np.isfinite(exam["loop"].gradient_map.sel(state="c", loss_step=STEPS, state_step=slice(1, None))).all()


class PreviousOnly(Scratch):
    """The variable that is read holds the state before only."""

    def forward(self, inputs):
        start, states = inputs.new_zeros(BATCH, SIZE), []
        for step, x in enumerate(inputs):
            previous = start if step == 0 else h
            h = torch.tanh(x @ self.w_xh + previous @ self.w_hh + self.b_h)
            states.append(h)
        return torch.stack(states) @ self.w_ho


class LearnedStart(Scratch):
    """What it starts from is a weight, too."""

    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.randn(1, SIZE))

    def forward(self, inputs):
        h, states = self.start.expand(BATCH, SIZE), []
        for x in inputs:
            h = torch.tanh(x @ self.w_xh + h @ self.w_hh + self.b_h)
            states.append(h)
        return torch.stack(states) @ self.w_ho


@pytest.mark.parametrize("build", [PreviousOnly, LearnedStart])
def test_where_it_starts_and_ends(build):
    def twin(own):
        made = Twin(ScratchCell(own), Product(own.w_ho))
        made.start = getattr(own, "start", None)
        return made

    check(build().double(), drawn(), record, twin=twin)


class GateByGate(Scratch):
    """A weight for all gates, of which each line takes one, and which an output reads, too."""

    def __init__(self):
        super().__init__()
        self.gates = nn.Parameter(torch.randn(2, SIZE, SIZE) / 2)

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            keep = torch.sigmoid(x + h @ self.gates[0])
            new = torch.tanh(x + h @ self.gates[1])
            h = keep * h + (1 - keep) * new
            outputs.append(h)
        return torch.stack(outputs) @ self.gates[1]


class GateByGateCell(nn.Module):
    def __init__(self, own):
        super().__init__()
        self.gates = own.gates

    def forward(self, x, h):
        keep = torch.sigmoid(x + h @ self.gates[0])
        return keep * h + (1 - keep) * torch.tanh(x + h @ self.gates[1])


class Second(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, states):
        return states @ self.weight[1]


def test_lines_that_share_a_weight():
    check(GateByGate().double(), drawn(), record, twin=lambda own: Twin(GateByGateCell(own), Second(own.gates)))


class Momentum(Scratch):
    """What goes on from step to step beside the state that is found."""

    def forward(self, inputs):
        h, momentum, states = inputs.new_zeros(BATCH, SIZE), inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            momentum = 0.5 * momentum + x @ self.w_xh
            h = torch.tanh(momentum + h @ self.w_hh)
            states.append(h)
        return torch.stack(states) @ self.w_ho


@pytest.mark.parametrize(("build", "noted"), [(Momentum, "w_xh"), (GateByGate, "gates"), (Scratch, None)])
def test_what_is_of_no_single_step_is_told(build, noted):
    model, inputs = build().double(), drawn()
    exam = tt.examine(model, inputs, torch.zeros_like(inputs), loss=summed)
    if noted is None:
        assert exam.notes == ()
        return
    (note,) = exam.notes
    assert note.startswith(f"Of the gradient of {noted} in 'loop' (") and "of no single step" in note
    share = float(note.partition("(")[2].partition("%")[0]) / 100
    assert share > 0.01
    if build is GateByGate:
        cell, h, states = GateByGateCell(model), torch.zeros_like(inputs[0]), []
        for x in inputs:
            h = cell(x, h)
            states.append(h)
        states = torch.stack(states)
        whole, outside = (
            torch.autograd.grad((read @ model.gates[1]).square().sum(), model.gates, retain_graph=True)[0].norm()
            for read in (states, states.detach())
        )
        assert share == pytest.approx(float(outside / whole), abs=0.005)
