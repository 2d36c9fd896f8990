"""Loops behind what torch and Python put around them: compilation, checkpointing, parametrizations, functions."""

import sys

import numpy as np
import pytest
import torch
import torch._dynamo
from numba import njit
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import throughtime as tt
from recorded import check, examined, per_step, recorded
from throughtime.capture.places import tensors_in
from throughtime.capture.watch import Watch

STEPS, BATCH, SIZE = 6, 3, 4


def drawn(*shape):
    return torch.randn(*(shape or (STEPS, BATCH, SIZE)), dtype=torch.float64)


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.x, self.h = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE, bias=False)

    def forward(self, x, h):
        return torch.tanh(self.x(x) + self.h(h))


class Looping(nn.Module):
    """What is called step by step is `self.step`; the cell is where its weights are."""

    def __init__(self, cell=None):
        super().__init__()
        self.cell, self.readout = Cell() if cell is None else cell, nn.Linear(SIZE, SIZE)

    def step(self, x, h):
        return self.cell(x, h)

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = self.step(x, h)
            states.append(h)
        return self.readout(torch.stack(states))


class Plain(Looping):
    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = self.cell(x, h)
            states.append(h)
        return self.readout(torch.stack(states))


def of_cell(cell):
    return recorded(cell, lambda module, x, h: {"h": h}, lambda module, output: {"h": output})


def cell_of(twin):
    return {"cell": of_cell(twin.cell)}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_a_weight_computed_from_others():
    model = Plain()
    parametrizations.orthogonal(model.cell.h)
    parametrizations.weight_norm(model.cell.x)
    check(model.double(), drawn(), cell_of)


@pytest.mark.parametrize("name", ["orthogonal", "weight_norm", "spectral_norm"])
def test_a_weight_computed_from_others_in_one_of_torchs_cells(name):
    """Its equations are known, but not its weight, so that it is followed like any other cell."""
    cell = nn.GRUCell(SIZE, SIZE)
    getattr(parametrizations, name)(cell, "weight_hh")
    check(Plain(cell).double().eval(), drawn(), cell_of)


class Two(nn.Module):
    """A cell whose weight is computed, and a plain one of the same class that sees what it returns."""

    def __init__(self):
        super().__init__()
        self.first = parametrizations.weight_norm(nn.GRUCell(SIZE, SIZE), "weight_hh")
        self.second = nn.GRUCell(SIZE, SIZE)

    def forward(self, inputs):
        h = g = inputs.new_zeros(inputs.shape[1], SIZE)
        outputs = []
        for x in inputs:
            h = self.first(x, h)
            g = self.second(h, g)
            outputs.append(g)
        return torch.stack(outputs)


@pytest.mark.parametrize("recurrence", [None, ["first", "second"]])
def test_beside_a_plain_cell_of_its_class(recurrence):
    loss = lambda output, _: output.square().sum((1, 2))  # noqa: E731
    exam = tt.examine(Two(), torch.randn(12, 3, SIZE), loss=loss, recurrence=recurrence)
    assert exam.recurrences == ["first", "second"]
    assert exam.notes == ()


class Clipped(torch.autograd.Function):
    """A matrix product whose derivatives are written by hand."""

    @staticmethod
    def forward(ctx, h, weight):
        ctx.save_for_backward(h, weight)
        return h @ weight.T

    @staticmethod
    def backward(ctx, gradient):
        h, weight = ctx.saved_tensors
        return gradient @ weight, gradient.T @ h


class WithFunction(Cell):
    def forward(self, x, h):
        return torch.tanh(self.x(x) + Clipped.apply(h, self.h.weight))


def test_a_function_with_derivatives_of_its_own():
    check(Plain(WithFunction()).double(), drawn(), cell_of)


class Checkpointed(Plain):
    """Every step is computed again on the way back."""

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = checkpoint(self.cell, x, h, use_reentrant=False)
            states.append(h)
        return self.readout(torch.stack(states))


def test_a_checkpointed_cell():
    def twin(own):
        plain = Plain(own.cell)
        plain.readout = own.readout
        return plain

    check(Checkpointed().double(), drawn(), cell_of, twin=twin)


class CheckpointedInside(Cell):
    def forward(self, x, h):
        return checkpoint(super().forward, x, h, use_reentrant=False)


def test_a_cell_that_checkpoints_itself():
    def twin(own):
        plain = Plain()
        plain.cell.x, plain.cell.h, plain.readout = own.cell.x, own.cell.h, own.readout
        return plain

    check(Plain(CheckpointedInside()).double(), drawn(), cell_of, twin=twin)


@pytest.fixture
def never_compiled():
    """A backend that must not be called."""

    def backend(graph, inputs):
        raise AssertionError("compiled")

    yield backend
    torch._dynamo.reset()


def test_a_compiled_cell_runs_as_it_was_written(never_compiled):
    plain = Plain().double()
    model = Plain(torch.compile(plain.cell, backend=never_compiled)).double()
    model.readout = plain.readout
    inputs = drawn()
    exam, whole = tt.examine(model, inputs, loss=per_step), tt.examine(plain, inputs, loss=per_step)
    assert len(exam.recurrences) == 1
    np.testing.assert_allclose(exam[exam.recurrences[0]].gradient_map, whole["cell"].gradient_map, rtol=0, atol=1e-9)
    for weight in ("x.weight", "x.bias", "h.weight"):
        one, other = _terms(exam, weight), _terms(whole, weight)
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def _terms(exam, weight):
    """The weight terms of a weight, whatever stands before its name."""
    name = exam.recurrences[0]
    try:
        return exam.weight_terms(name, weight).norm
    except KeyError:
        return exam.weight_terms(name, f"_orig_mod.{weight}").norm


@pytest.mark.parametrize("build", [Plain, Looping])
def test_a_compiled_model_runs_as_it_was_written(build, never_compiled):
    model, inputs = build().double(), drawn()
    whole = tt.examine(model, inputs, loss=per_step)
    exam = tt.examine(torch.compile(model, backend=never_compiled), inputs, loss=per_step)
    assert len(exam.recurrences) == 1
    found, expected = exam[exam.recurrences[0]].gradient_map, whole[whole.recurrences[0]].gradient_map
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_compilation_goes_on_afterwards():
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    model, inputs = Plain().double(), drawn()
    fast = torch.compile(model, backend=backend)
    tt.examine(fast, inputs, loss=per_step)
    assert compiled == []
    fast(inputs)
    assert compiled
    torch._dynamo.reset()


def test_a_stance_that_was_set_before_is_set_afterwards(never_compiled):
    model, inputs = Plain().double(), drawn()
    fast = torch.compile(model, backend=never_compiled)
    with torch.compiler.set_stance("force_eager"):
        tt.examine(fast, inputs, loss=per_step)
        fast(inputs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_cell():
    """What is compiled to TorchScript cannot be entered."""
    plain = Plain().double()
    scripted = Plain(torch.jit.script(plain.cell)).double()
    scripted.readout = plain.readout
    inputs = drawn()
    with pytest.raises(tt.ExaminationError, match="cell is compiled by TorchScript"):
        tt.examine(scripted, inputs, loss=per_step)


def test_a_method_around_a_module_is_one_recurrence():
    """The state goes through the method as well as through the module; it is the module that has the weights."""
    exam = check(Looping().double(), drawn(), cell_of)
    assert exam["cell"].attrs["cell"] == "Cell"


class Shared(nn.Module):
    """Uses the recurrent weight outside of the loop too."""

    def __init__(self):
        super().__init__()
        self.cell = Cell()

    def forward(self, inputs):
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = self.cell(x, h)
            states.append(h)
        return torch.stack(states) @ self.cell.h.weight


def test_a_weight_that_is_used_outside_of_the_loop_too():
    """The terms are those of the steps; the rest of its gradient is known, so that they are still compared with it."""
    check(Shared().double(), drawn(), cell_of)


class Tied(Plain):
    """Two names for one weight."""

    def __init__(self):
        super().__init__()
        self.readout.weight = self.cell.x.weight


def test_tied_weights():
    check(Tied().double(), drawn(), cell_of)


class Counting(nn.Module):
    """Keeps what it is no recurrence of: counts, running means, outputs."""

    def __init__(self):
        super().__init__()
        self.cell, self.norm = Cell(), nn.BatchNorm1d(SIZE)
        self.register_buffer("seen", torch.zeros(()))
        self.calls, self.outputs = 0, []

    def forward(self, inputs):
        self.calls += 1
        self.seen += 1
        self.last = inputs
        h, states = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.unbind(0):
            h = self.cell(nn.functional.dropout(x, 0.3, self.training), h)
            states.append(self.norm(h))
        return torch.stack(states)


def test_a_model_that_changes_itself_when_it_runs():
    """That nothing is left of it is seen by `examined`."""
    model = Counting().double()
    check(model, drawn(), cell_of)
    assert model.calls == 1, "this is the run of the test itself"


class Failing(Plain):
    def forward(self, inputs):
        super().forward(inputs)
        raise RuntimeError("the model's own mistake")


def test_after_a_mistake_of_the_model_everything_is_as_before():
    model, inputs = Failing().double(), drawn()
    apply = torch.autograd.Function.apply
    attributes = [(module, dict(vars(module))) for module in model.modules()]
    randomness = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="the model's own mistake"):
        tt.examine(model, inputs, loss=per_step)
    assert sys.getprofile() is None
    assert torch.autograd.Function.apply == apply
    assert torch.equal(torch.get_rng_state(), randomness)
    for module, before in attributes:
        assert vars(module).keys() == before.keys()
    assert torch.overrides._get_current_function_mode_stack() == []


def test_a_profile_function_of_the_users_own_is_there_afterwards():
    seen = []

    def profile(frame, event, argument):
        seen.append(event)

    model, inputs = Plain().double(), drawn()
    sys.setprofile(profile)
    try:
        tt.examine(model, inputs, loss=per_step)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)


def test_under_no_grad():
    model, inputs = Plain().double(), drawn()
    whole = tt.examine(model, inputs, loss=per_step)
    with torch.no_grad():
        exam = tt.examine(model, inputs, loss=per_step)
        assert not torch.is_grad_enabled()
    np.testing.assert_array_equal(exam["cell"].gradient_map, whole["cell"].gradient_map)


def test_twice_the_same():
    model, inputs = Counting().double(), drawn()
    one, other = (examined(model, inputs, per_step) for _ in range(2))
    np.testing.assert_array_equal(one["cell"].gradient_map, other["cell"].gradient_map)


@pytest.mark.parametrize("keywords", [{}, {"recurrence": ["cell", "inputs"]}], ids=["a loop", "a loop and the input"])
def test_what_was_found_is_saved_and_shown(keywords, tmp_path):
    exam = tt.examine(Plain().double(), drawn(), loss=per_step, **keywords)
    exam.save(tmp_path / "exam.nc")
    same = tt.load(tmp_path / "exam.nc")
    assert same.recurrences == exam.recurrences
    assert same.reach() == exam.reach()
    for name in exam.recurrences:
        np.testing.assert_array_equal(same[name].gradient_map, exam[name].gradient_map)
        np.testing.assert_array_equal(same.causes(name).nats, exam.causes(name).nats)
    assert same.to_json() == exam.to_json()
    exam.to_html(tmp_path / "exam.html")


def test_what_answers_to_every_name_holds_no_tensors():
    class Wrapper:
        __slots__ = ()

        def __getattr__(self, name):
            return object()

    assert list(tensors_in(Wrapper(), "wrapped")) == []
    assert [place for place, _ in tensors_in([Wrapper(), torch.ones(1)], "both")] == ["both[1]"]


def test_a_compiler_at_work_is_not_watched() -> None:
    seen = []
    with Watch(nn.Linear(1, 1), on_call=seen.append):
        assert njit(lambda x: x + 1)(1) == 2
    assert not [call for call in seen if "numba" in call.callee.key[1].co_filename]


class Mapped(nn.Module):
    """A head over samples by torch.vmap behind a layer, a cell or a loop, and in the latter its derivative."""

    def __init__(self, kind):
        super().__init__()
        self.recurrence = {"layer": nn.GRU, "cell": nn.GRUCell, "loop": nn.RNNCell}[kind](SIZE, SIZE)
        self.x, self.h, self.head = (nn.Linear(SIZE, SIZE) for _ in range(3))
        self.kind = kind

    def step(self, x, h):
        return torch.tanh(self.x(x) + self.h(h))

    def forward(self, inputs):
        if self.kind == "layer":
            return torch.vmap(self.head)(self.recurrence(inputs)[0])
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs:
            h = self.recurrence(x, h) if self.kind == "cell" else self.step(x, h)
            slopes = torch.vmap(torch.func.jacrev(self.head))(h).sum(-1) if self.kind == "loop" else 0
            outputs.append(torch.vmap(self.head)(h) + slopes)
        return torch.stack(outputs)


@pytest.mark.parametrize(("kind", "name"), [("layer", "recurrence.l0"), ("cell", "recurrence"), ("loop", "step")])
def test_what_torch_func_works_with_is_not_looked_at(kind, name):
    exam = tt.examine(Mapped(kind).double(), drawn(), loss=per_step)
    assert exam.recurrences == [name]
    assert max(exam.relative_errors(name).values()) < 1e-12
