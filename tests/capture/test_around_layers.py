"""What models do around their recurrent layers, against the same models without it."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import throughtime as tt
from recorded import check, recorded

STEPS, BATCH, SIZE = 7, 3, 4


def loss(output: Tensor, _: Tensor | None) -> Tensor:
    return output.square().sum((1, 2))


def data() -> Tensor:
    return torch.randn(STEPS, BATCH, SIZE, generator=torch.Generator().manual_seed(1))


class Plain(nn.Module):
    """A layer and a cell, one after the other."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.cell, self.readout = nn.LSTM(SIZE, SIZE), nn.GRUCell(SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def called(self, module: nn.Module, *arguments: Tensor) -> Tensor:
        output = module(*arguments)
        return output if isinstance(output, Tensor) else output[0]

    def forward(self, inputs: Tensor) -> Tensor:
        h, states = inputs.new_zeros(inputs.shape[1], SIZE), []
        for x in self.called(self.layer, inputs):
            h = self.called(self.cell, x, h)
            states.append(h)
        return self.readout(torch.stack(states))


class Directly(Plain):
    """Calls forward functions past all hooks."""

    def called(self, module: nn.Module, *arguments: Tensor) -> Tensor:
        return super().called(module.forward, *arguments)


class Halving(Plain):
    def called(self, module: nn.Module, *arguments: Tensor) -> Tensor:
        return super().called(module, *arguments) / 2


def hooked() -> Plain:
    """The same by forward hooks."""
    model = Plain()
    model.layer.register_forward_hook(lambda module, arguments, output: (output[0] / 2, output[1]))
    model.cell.register_forward_hook(lambda module, arguments, output: output / 2)
    return model


class Mixed(Plain):
    def forward(self, inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(inputs)


class Decorated(Plain):
    forward = torch.autocast("cpu", torch.bfloat16)(Plain.forward)


@pytest.mark.parametrize(
    ("build", "same"),
    [(Directly, Plain), (hooked, Halving), (Mixed, Plain), (Decorated, Plain)],
    ids=lambda one: one.__name__,
)
def test_the_same_is_found(build, same) -> None:
    exam, expected = (tt.examine(model(), data(), loss=loss) for model in (build, same))
    assert exam.recurrences == expected.recurrences == ["layer.l0", "cell"]
    for name in exam.recurrences:
        for quantity in ("gradient_map", "lag_profile", "truncation_error"):
            np.testing.assert_array_equal(exam[name][quantity], expected[name][quantity])


@pytest.mark.parametrize("build", [Mixed, Plain])
def test_autocast_is_left_out_and_that_is_said(build) -> None:
    entering, model = torch.autocast.__enter__, build()
    with torch.autocast("cpu", torch.bfloat16, enabled=build is Plain):
        exam = tt.examine(model, data(), loss=loss)
        assert torch.is_autocast_enabled("cpu") == (build is Plain)
    assert any("runs under autocast" in note for note in exam.notes)
    assert torch.autocast.__enter__ is entering
    assert not any("autocast" in note for note in tt.examine(Plain(), data(), loss=loss).notes)


class BurnIn(nn.Module):
    """Begins with a state that was computed without gradients (Kapturowski et al. 2019, R2D2)."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.steps = kind(SIZE, SIZE), 3

    def through(self, inputs: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if isinstance(self.layer, nn.GRU):
            return self.layer(inputs, state)
        states = []
        for x in inputs:
            state = self.layer(x, state)
            states.append(state)
        return torch.stack(states), state

    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            _, state = self.through(inputs[: self.steps], None)
        return self.through(inputs[self.steps :], state)[0]


@pytest.mark.parametrize("kind", [nn.GRU, nn.GRUCell])
def test_what_runs_without_gradients_is_data(kind) -> None:
    model = BurnIn(kind).double()
    inputs = data().double()
    exam = tt.examine(model, inputs, loss=loss)
    state = model.through(inputs[:3], None)[1].detach()

    class Rest(BurnIn):
        def forward(self, inputs: Tensor) -> Tensor:
            return self.through(inputs, state)[0]

    expected = tt.examine(Rest(kind).double(), inputs[3:], loss=loss)
    (name,) = exam.recurrences
    assert exam[name].attrs["steps"] == STEPS - 3
    np.testing.assert_allclose(exam[name].gradient_map, expected[name].gradient_map, rtol=1e-9)


class Bounded(nn.Module):
    """A forward pass that changes weights: an embedding renormalises the rows that it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(9, SIZE, max_norm=0.5), nn.GRU(SIZE, SIZE)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(self.embedding(inputs))[0]


def test_weights_that_a_forward_pass_changes_are_as_before() -> None:
    model = Bounded()
    before = model.embedding.weight.detach().clone()
    tt.examine(model, torch.arange(9).reshape(9, 1), loss=loss)
    assert torch.equal(model.embedding.weight, before)
    assert before.norm(dim=1).max() > 0.5


class Halting(nn.Module):
    """Beside its state, one number per sample."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.halt = nn.Linear(2 * SIZE + 1, SIZE), nn.Linear(SIZE, 1)

    def forward(self, x: Tensor, h: Tensor, halted: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.read(torch.cat((x, h, halted.unsqueeze(1)), 1)))
        return h, 0.8 * halted + 0.2 * self.halt(h).sigmoid().squeeze(1)


class Stepping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = Halting()

    def forward(self, inputs: Tensor) -> Tensor:
        h, halted, outputs = inputs.new_zeros(BATCH, SIZE), inputs.new_zeros(BATCH), []
        for x in inputs:
            h, halted = self.cell(x, h, halted)
            outputs.append(h * (1 + halted.unsqueeze(1)))
        return torch.stack(outputs)


def test_a_number_per_sample_is_a_state_of_as_many_samples() -> None:
    def record(twin):
        return {
            "cell": recorded(
                twin.cell,
                lambda cell, x, h, halted: {"h": h, "c": halted},
                lambda cell, output: {"h": output[0], "c": output[1]},
            )
        }

    exam = check(Stepping().double(), data().double(), record)
    assert exam["cell"].attrs["batch"] == BATCH


class Attending(nn.Module):
    """No recurrence, as many features as losses, and one token more."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, STEPS - 1)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens).cumsum(1)[:, :-1]


def test_the_features_of_an_embedding_are_no_steps() -> None:
    tokens = torch.randint(9, (BATCH, STEPS))
    with pytest.raises(tt.ExaminationError, match=r"time_axis: the input has the shape \(3, 7\)"):
        tt.examine(Attending(), tokens, loss=lambda output, _: output.square().sum((0, 2)))
    exam = tt.examine(Attending(), tokens, loss=lambda output, _: output.square().sum((0, 2)), time_axis=1)
    assert exam["inputs"].sizes["state_step"] == STEPS + 1


class WithCovariate(nn.Module):
    """No recurrence; what does not change in time is its first argument."""

    def __init__(self) -> None:
        super().__init__()
        self.readout = nn.Linear(SIZE, SIZE)

    def forward(self, static: Tensor, sequence: Tensor) -> Tensor:
        return self.readout(static + sequence).cumsum(0)


def test_the_input_that_is_followed_has_an_axis_of_time() -> None:
    static = torch.randn(BATCH, SIZE)
    exam = tt.examine(WithCovariate(), (static, data()), loss=loss)
    assert exam["inputs"].sizes["state_step"] == STEPS + 1
    assert np.isfinite(exam["inputs"].gradient_map.sel(loss_step=STEPS, state_step=slice(1, None))).all()


def test_where_no_weight_gets_a_gradient_the_reach_is_nothing() -> None:
    """The losses read the states, but no slope lets anything through to the weights."""
    model = nn.RNN(SIZE, SIZE, nonlinearity="relu")
    nn.init.constant_(model.bias_ih_l0, -50)
    exam = tt.examine(model, data(), loss=lambda output, _: output[0].sum((1, 2)))
    assert exam.reach() == {"l0": 0} and exam["l0"].attrs["recommended_window"] == 0
    assert "its weights get no gradient" in exam._repr_html_()


class Sensitive(Plain):
    """Takes the gradient of what it has computed with respect to what it read."""

    def forward(self, inputs: Tensor) -> Tensor:
        inputs = inputs.requires_grad_()
        output = super().forward(inputs)
        return output + torch.autograd.grad(output.sum(), inputs, create_graph=True)[0]


def test_a_model_that_takes_a_gradient_through_its_recurrences_is_refused() -> None:
    with pytest.raises(tt.ExaminationError, match=r"takes a gradient itself.* leave that part out"):
        tt.examine(Sensitive(), data(), loss=loss)


class Energy(nn.Module):
    """A step down an energy, whose gradient torch.func takes sample by sample, or the same written out."""

    def __init__(self, by_func: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.read, self.recurrent, self.by_func = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE), by_func

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        def energy(one: Tensor, read: Tensor) -> Tensor:
            return (0.5 * one.square() - torch.log(torch.cosh(self.recurrent(one) + read))).sum()

        if self.by_func:
            return h - 0.5 * torch.func.vmap(torch.func.grad(energy))(h, self.read(x))
        return h - 0.5 * (h - torch.tanh(self.recurrent(h) + self.read(x)) @ self.recurrent.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        h, states = inputs.new_zeros(inputs.shape[1], SIZE), []
        for x in inputs:
            h = self.step(x, h)
            states.append(h)
        return torch.stack(states)


def test_steps_may_use_torch_func() -> None:
    exam, whole = (tt.examine(Energy(by_func).double(), data().double(), loss=loss) for by_func in (True, False))
    assert exam.recurrences == whole.recurrences == ["step"]
    # Of the state before the first step, which has no graph, torch.func's part would not be seen.
    found, expected = (one["step"].gradient_map.sel(state="h") for one in (exam, whole))
    assert found.sel(state_step=0).isnull().all()
    np.testing.assert_allclose(
        found.isel(state_step=slice(1, None)), expected.isel(state_step=slice(1, None)), rtol=1e-9
    )
    assert max(exam.relative_errors("step").values()) < 1e-12
    for weight in ("read.weight", "recurrent.weight", "recurrent.bias"):
        found, expected = (one.weight_terms("step", weight).norm for one in (exam, whole))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
