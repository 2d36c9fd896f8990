"""Models whose loops are recorded while they run, differentiated by plain autograd.

The naive twin of a loop is the model itself: whatever is called step by step keeps the states that went in and out, and
works with a copy of every parameter at every call, so that the gradient with respect to a copy is one weight term.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map_only

import naive
import throughtime as tt


@dataclass
class Call:
    """One step: the states that went in, those that came out, and the copies of the parameters in between."""

    entered: dict[str, Tensor]
    left: dict[str, Tensor]
    copies: dict[str, Tensor]


class _Calling(nn.Module):
    """A method of a module as a module, for `functional_call`."""

    def __init__(self, module: nn.Module, method: Callable[..., Any]) -> None:
        super().__init__()
        self.module, self.method = module, method

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        return self.method(*arguments, **keywords)


def one_state(*names):
    """Reads a state, or a tuple of states, from the second argument and from what is returned."""
    names = names or ("h",)

    def given(module, x, state=None):
        return dict(zip(names, state if isinstance(state, tuple) else (state,), strict=True))

    def returned(module, output):
        return dict(zip(names, output if isinstance(output, tuple) else (output,), strict=True))

    return given, returned


def recorded(module: nn.Module, entering: Callable, leaving: Callable, method: str = "forward") -> list[Call]:
    """The calls of a module or of one of its methods, from now on.

    Args:
        module: The module.
        entering: entering(module, *arguments, **keywords), the states by name.
        leaving: leaving(module, output), the same.
        method: What is called.
    """
    calls: list[Call] = []
    calling = _Calling(module, getattr(module, method))
    weights = dict(module.named_parameters())

    def run(*arguments: Any, **keywords: Any) -> Any:
        copies = {name: weight.detach().clone().requires_grad_() for name, weight in weights.items()}
        entered = {name: _leaf(state) for name, state in entering(module, *arguments, **keywords).items()}
        output = functional_call(calling, {f"module.{name}": one for name, one in copies.items()}, arguments, keywords)
        calls.append(Call(entered, leaving(module, output), copies))
        # A copy, since a model may change it in place.
        return tree_map_only(Tensor, torch.clone, output)

    setattr(module, method, run)
    return calls


def _doubled(value: Tensor) -> Tensor:
    return value.double().clone() if value.is_floating_point() else value.clone()


def _leaf(state: Tensor) -> Tensor:
    return state if state.requires_grad else state.requires_grad_()


def unrolled(model: nn.Module, *names: str) -> Callable[[], dict[str, list[Call]]]:
    """Unrolls torch's layers of these names, from now on; gives their calls by layer and direction afterwards."""
    for name in names:
        model.set_submodule(name, naive.Unrolled(model.get_submodule(name)))

    def calls() -> dict[str, list[Call]]:
        found: dict[str, list[Call]] = {}
        for name in names:
            module = model.get_submodule(name)
            two = naive.kind_of(module.module) == "lstm"
            for by_layer in module.calls:
                for layer, its in by_layer.items():
                    visited = {"h": its.hidden} | ({"c": its.carried} if two else {})
                    found.setdefault(f"{name}.{layer}", []).extend(
                        Call(
                            {state: values[step] for state, values in visited.items()},
                            {state: values[step + 1] for state, values in visited.items()},
                            copies,
                        )
                        for step, copies in enumerate(its.copies)
                    )
        return found

    return calls


def states_of(calls: list[Call]) -> dict[str, list[Tensor]]:
    """By name, s_0 .. s_T."""
    return {name: [calls[0].entered[name], *(call.left[name] for call in calls)] for name in calls[0].left}


def gradient_map(losses: list[Tensor], states: list[Tensor], batch_axis: int | None = 0) -> np.ndarray:
    """ln sqrt(mean over the batch of |dl_t/ds_i|^2), (loss_step, state_step)."""
    columns = []
    for gradients in naive.gradients(losses, states):
        squares = gradients.abs().double().square()
        batch = 1 if batch_axis is None else squares.shape[batch_axis + 1]
        columns.append((squares.flatten(1).sum(1) / batch).log() / 2)
    return torch.stack(columns, 1).numpy()


def term_norms(losses: list[Tensor], copies: list[Tensor]) -> np.ndarray:
    """Frobenius norms of the weight terms, (loss_step, step)."""
    found = naive.gradients(losses, copies)
    return torch.stack([gradients.reshape(len(losses), -1).norm(dim=1) for gradients in found], 1).numpy()


def examined(model: nn.Module, inputs: Any, loss: Callable, **keywords: Any) -> tt.Examination:
    """An examination that leaves everything as it was."""
    parameters = list(model.parameters())
    for parameter in parameters[::2]:
        parameter.grad = torch.full_like(parameter, 0.5)
    for parameter in parameters[-1:]:
        parameter.requires_grad_(False)
    flags = [parameter.requires_grad for parameter in parameters]
    values = {name: tensor.clone() for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    attributes = [(module, dict(vars(module))) for module in model.modules()]
    torch.manual_seed(1)
    randomness = torch.get_rng_state()
    exam = tt.examine(model, inputs, loss=loss, **keywords)
    assert torch.equal(torch.get_rng_state(), randomness)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        assert torch.equal(tensor, values[name]), name
    assert [parameter.requires_grad for parameter in parameters] == flags
    for index, parameter in enumerate(parameters):
        assert parameter.grad is None if index % 2 else (parameter.grad == 0.5).all()
    for module, before in attributes:
        assert vars(module).keys() == before.keys()
        assert all(vars(module)[name] is value for name, value in before.items())
    return exam


def run(model: nn.Module, inputs: Any, loss: Callable) -> list[Tensor]:
    """The losses of a model, from the random state in which `examined` runs it."""
    torch.manual_seed(1)
    output = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    return list(loss(output, None).reshape(-1).unbind(0))


def assert_states(exam, name, losses, states, tolerance=1e-9, batch_axis=0):
    """The gradient map is that of autograd, and the causes add up to its changes."""
    found = exam[name].gradient_map
    assert list(found.state.values) == list(states)
    for state, tensors in states.items():
        expected = gradient_map(losses, tensors, batch_axis)
        np.testing.assert_allclose(found.sel(state=state), expected, rtol=0, atol=tolerance, err_msg=f"{name} {state}")
        assert np.isfinite(expected).any(), "a map of zeros proves nothing"
    assert_causes(exam, name, tolerance)


def assert_causes(exam, name, tolerance=1e-9):
    causes = exam.causes(name)
    followed = exam[name].gradient_map.sel(state=causes.attrs["state"], loss_step=causes.loss_step)
    values = np.where(np.isfinite(followed), followed, np.nan)
    change = values[:, :-1] - values[:, 1:]
    total = causes.nats.sum("cause", skipna=False).values
    assert np.isfinite(change).any()
    where = np.isfinite(change)
    np.testing.assert_allclose(total[where], change[where], rtol=0, atol=10 * tolerance, err_msg=f"causes of {name}")


def assert_terms(exam, name, losses, copies, tolerance=1e-9):
    """The weight terms are those of autograd. `copies`: by weight, those of every step."""
    for weight, tensors in copies.items():
        found = exam.weight_terms(name, weight)
        expected = term_norms(losses, tensors)
        smallest = 1e-3 * tolerance * expected.max()
        np.testing.assert_allclose(found.norm, expected, rtol=tolerance, atol=smallest, err_msg=f"{name} {weight}")
        assert found.attrs["relative_error"] < tolerance
        assert expected.any()


def assert_recorded(exam, name, losses, calls, tolerance=1e-9, batch_axis=0, without=()):
    """A recurrence against the calls that were recorded of it."""
    assert_states(exam, name, losses, states_of(calls), tolerance, batch_axis)
    copies = {weight: [call.copies[weight] for call in calls] for weight in calls[0].copies if weight not in without}
    assert_terms(exam, name, losses, copies, tolerance)


def per_step(output, _):
    """One loss per step of an output (time, batch, features)."""
    return output.square().sum((1, 2))


def check(
    model, inputs, record, *, loss=per_step, twin=None, tolerance=1e-9, batch_axis=0, without=(), read=None, **keywords
):
    """Examine a model, and compare every recurrence with what is recorded of it.

    Args:
        model: The model, in the dtype in which it is examined.
        inputs: A tensor or a tuple.
        record: record(twin): begins the recording in a copy of the model; returns the calls by name of the recurrence,
            or a function of no arguments that does, where they are to be told apart afterwards.
        loss: loss(output, targets).
        twin: twin(copy of the model), the same model written otherwise.
        tolerance: Relative, of norms.
        batch_axis: Of the states.
        without: Weights that no step works with.
        read: What the twin is called with, where it is not `inputs`.
        keywords: Of `examine`.
    """
    same = copy.deepcopy(model).double()
    same = same if twin is None else twin(same)
    exam = examined(model, inputs, loss, **keywords)
    calls = record(same)
    own = tree_map_only(
        Tensor, lambda one: one.double() if one.is_floating_point() else one, inputs if read is None else read
    )
    losses = run(same, tree_map_only(Tensor, torch.clone, own), loss)
    for mine, theirs in zip(run(model, inputs, loss), losses, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=tolerance, atol=tolerance)
    calls = calls() if callable(calls) else calls
    assert sorted(exam.recurrences) == sorted(calls)
    for name, its in calls.items():
        assert_recorded(exam, name, losses, its, tolerance, batch_axis, without)
    return exam
