"""Loops that carry a state past what they call, against plain autograd over the same loop."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import throughtime as tt
from throughtime.capture.carried_past import passes_by

STEPS, BATCH, SIZE = 8, 3, 4


def begun(inputs: Tensor, keep: list[Tensor]) -> Tensor:
    """The state before the first step, the first that is kept."""
    keep.append(inputs.new_zeros(inputs.shape[1], SIZE))
    return keep[0]


class Looping(nn.Module):
    """A loop whose state is made outside of what it calls; `keep` receives every value of it."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.readout = self.made(), nn.Linear(SIZE, SIZE)

    def made(self) -> nn.Module:
        return nn.RNNCell(SIZE, SIZE)


class Leak(Looping):
    kept, written = 0.9, 0.1

    def forward(self, inputs: Tensor, keep: list[Tensor] | None = None) -> Tensor:
        states = keep if keep is not None else []
        h = begun(inputs, states).requires_grad_(keep is not None)
        for x in inputs:
            h = self.kept * h + self.written * self.cell(x, h)
            states.append(h)
        return self.readout(torch.stack(states[1:]))


class Residual(Leak):
    kept, written = 1, 0.3


class LeakOfGRU(Leak):
    def made(self) -> nn.Module:
        return nn.GRUCell(SIZE, SIZE)


class Candidate(nn.Module):
    """A module whose equations are not known."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return torch.tanh(self.x(x) + self.h(h))


class LeakOfModule(Leak):
    def made(self) -> nn.Module:
        return Candidate()


class Leaky(nn.Module):
    """A module that leaks around a cell of torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.RNNCell(SIZE, SIZE)

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return 0.9 * h + 0.1 * self.inner(x, h)


class Wrapped(Looping):
    def made(self) -> nn.Module:
        return Leaky()

    def update(self, x: Tensor, h: Tensor) -> Tensor:
        return self.cell(x, h)

    def forward(self, inputs: Tensor, keep: list[Tensor] | None = None) -> Tensor:
        states = keep if keep is not None else []
        h = begun(inputs, states).requires_grad_(keep is not None)
        for x in inputs:
            h = self.update(x, h)
            states.append(h)
        return self.readout(torch.stack(states[1:]))


class Gates(Looping):
    """A helper returns the gates, and the update stands in the loop."""

    def made(self) -> nn.Module:
        return nn.Linear(2 * SIZE, 2 * SIZE)

    def gates(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        keep, candidate = self.cell(torch.cat([x, h], -1)).chunk(2, -1)
        return keep.sigmoid(), candidate.tanh()

    def forward(self, inputs: Tensor, keep: list[Tensor] | None = None) -> Tensor:
        states = keep if keep is not None else []
        h = begun(inputs, states).requires_grad_(keep is not None)
        for x in inputs:
            k, n = self.gates(x, h)
            h = k * h + (1 - k) * n
            states.append(h)
        return self.readout(torch.stack(states[1:]))


class WithoutWeights(Gates):
    """The helper has no weights, and is given the state besides."""

    def mixed(self, made: Tensor, h: Tensor) -> Tensor:
        keep, candidate = made.chunk(2, -1)
        return keep.sigmoid() * candidate.tanh() - 0.1 * h

    def forward(self, inputs: Tensor, keep: list[Tensor] | None = None) -> Tensor:
        states = keep if keep is not None else []
        h = begun(inputs, states).requires_grad_(keep is not None)
        for x in inputs:
            h = h + self.mixed(self.cell(torch.cat([x, h], -1)), h)
            states.append(h)
        return self.readout(torch.stack(states[1:]))


def drawn() -> Tensor:
    return torch.randn(STEPS, BATCH, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def loss(output: Tensor, _: object) -> Tensor:
    return output.square().sum((1, 2))


def built(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().double()


@pytest.mark.parametrize("kind", [Leak, LeakOfGRU, LeakOfModule, Wrapped, Residual, Gates, WithoutWeights])
def test_the_state_of_the_loop_is_followed(kind: type[nn.Module]) -> None:
    model, states = built(kind), []
    losses = loss(model(drawn(), states), None)
    naive = torch.stack(
        [
            torch.stack(torch.autograd.grad(one, states, retain_graph=True, materialize_grads=True))
            for one in losses.unbind()
        ]
    )
    exam = tt.examine(model, drawn(), loss=loss)
    (name,) = exam.recurrences
    assert name == ("cell" if kind is Wrapped else "loop") and exam.notes == ()
    found = exam[name].gradient_map.sel(state="h")
    np.testing.assert_allclose(found, naive.square().sum(-1).mean(-1).log() / 2, rtol=0, atol=1e-12)
    assert set(exam.relative_errors(name)) == {
        f"{'' if kind is Wrapped else 'cell.'}{weight}" for weight, _ in model.cell.named_parameters()
    }
    entering = exam.causes(name).nats.sel(cause="entering")
    # All losses but the one that is followed are apart: nothing joins on the way.
    np.testing.assert_allclose(entering.where(entering.notnull(), 0), 0, atol=1e-9)


class LeakyLSTM(nn.Module):
    """Two states, each with a leak."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.readout = nn.LSTMCell(SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, inputs: Tensor) -> Tensor:
        h = c = inputs.new_zeros(inputs.shape[1], SIZE)
        outputs = []
        for x in inputs:
            new, carried = self.cell(x, (h, c))
            h, c = 0.5 * h + 0.5 * new, 0.5 * c + 0.5 * carried
            outputs.append(self.readout(h))
        return torch.stack(outputs)


class Zoneout(LeakyLSTM):
    """Every unit keeps its value or takes the new one: in training by chance, and on average afterwards."""

    def forward(self, inputs: Tensor) -> Tensor:
        h = c = inputs.new_zeros(inputs.shape[1], SIZE)
        outputs = []
        for x in inputs:
            new, carried = self.cell(x, (h, c))
            kept = (torch.rand_like(h) < 0.2).to(h) if self.training else 0.2
            h, c = kept * h + (1 - kept) * new, kept * c + (1 - kept) * carried
            outputs.append(self.readout(h))
        return torch.stack(outputs)


class Dropped(LeakyLSTM):
    """What passes on, passes through the cell."""

    def forward(self, inputs: Tensor) -> Tensor:
        h = c = inputs.new_zeros(inputs.shape[1], SIZE)
        outputs = []
        for x in inputs:
            h, c = self.cell(x, (nn.functional.dropout(h, 0.2, self.training), c))
            outputs.append(self.readout(h))
        return torch.stack(outputs)


@pytest.mark.parametrize(
    ("kind", "training", "name", "states"),
    [
        (LeakyLSTM, True, "loop", ["h", "c"]),
        (Zoneout, False, "loop", ["h", "c"]),
        # Where a mask lets all of it through or nothing, the cell is what is followed.
        (Zoneout, True, "cell", ["h", "c"]),
        (Dropped, True, "cell", ["h", "c"]),
    ],
)
def test_two_states(kind: type[nn.Module], training: bool, name: str, states: list[str]) -> None:
    exam = tt.examine(built(kind).train(training), drawn(), loss=loss)
    assert exam.recurrences == [name] and exam[name].state.values.tolist() == states


def test_a_cell_that_is_named_is_followed() -> None:
    assert tt.examine(built(Leak), drawn(), loss=loss, recurrence="cell").recurrences == ["cell"]


class Blocks(nn.Module):
    """A method that is called for layer after layer is no step."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(SIZE, SIZE) for _ in range(4))
        self.scale = nn.Linear(SIZE, SIZE)

    def block(self, layer: nn.Module, x: Tensor) -> Tensor:
        return torch.tanh(layer(x))

    def forward(self, inputs: Tensor) -> Tensor:
        x = self.scale(inputs)
        for layer in self.layers:
            x = x + self.block(layer, x)
        return x


def test_complex_states_and_what_no_gradient_runs_through_are_looked_at_too() -> None:
    h = torch.randn(3, 4, dtype=torch.complex128, requires_grad=True) * 1
    assert passes_by(0.9j * h + torch.tanh(h), h, [torch.ones(3)]) and passes_by(h + 1, h, [torch.ones(3)])
    assert not passes_by(torch.tensor([[1.0], [0.0], [1.0]]) * h, h, [torch.ones(3)])
    assert not passes_by(None, h, []) and not passes_by(h, None, [])


def test_a_stack_of_blocks_is_no_loop() -> None:
    assert tt.examine(built(Blocks), drawn(), loss=loss).recurrences == ["inputs"]


class Coverage(nn.Module):
    """Attention that remembers where it has been, beside a cell: two recurrences, of which each has its own state."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.cell = nn.GRU(SIZE, SIZE), nn.GRUCell(2 * SIZE, SIZE)
        self.query, self.covered, self.readout = nn.Linear(SIZE, SIZE), nn.Linear(1, SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, inputs: Tensor) -> Tensor:
        memory, h = self.encoder(inputs)
        h, coverage, outputs = h[0], inputs.new_zeros(inputs.shape[:2]), []
        for x in inputs:
            score = torch.tanh(memory + self.query(h) + self.covered(coverage.unsqueeze(-1))).sum(-1)
            weights = score.softmax(0)
            coverage = coverage + weights
            context = (weights.unsqueeze(-1) * memory).sum(0)
            h = self.cell(torch.cat([x, context], -1), h)
            outputs.append(self.readout(h))
        return torch.stack(outputs)


def test_what_passes_by_a_cell_without_being_its_state_leaves_it_as_it_is() -> None:
    exam = tt.examine(built(Coverage), drawn(), loss=loss)
    assert exam.recurrences == ["encoder.l0", "loop", "cell"] and exam["cell"].attrs["equations"]


class LeakBehindNorm(LeakyLSTM):
    """The cell is given what is made of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.norm = nn.GRUCell(SIZE, SIZE), nn.LayerNorm(SIZE)

    def forward(self, inputs: Tensor) -> Tensor:
        h, outputs = inputs.new_zeros(inputs.shape[1], SIZE), []
        for x in inputs:
            h = 0.9 * h + 0.1 * self.cell(x, self.norm(h))
            outputs.append(self.readout(h))
        return torch.stack(outputs)


def test_a_cell_may_be_given_what_is_made_of_the_state() -> None:
    assert tt.examine(built(LeakBehindNorm), drawn(), loss=loss).recurrences == ["loop"]
