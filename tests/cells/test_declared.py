"""Mistakes in a cell of one's own are told as what they are."""

import math
from typing import Any

import pytest
import torch

import throughtime as tt


class Right(tt.Cell):
    gates = ("f",)

    def step(self, x: Any, u: Any, h: Any) -> Any:
        return tt.Update(keep=0, write=1, candidate=tt.tanh(x.f + u.f))


DECLARED: dict[str, tuple[dict[str, Any], str]] = {
    "twice": (
        {"gates": ("f", "f")},
        r"gates: expected of a cell a tuple of different names, found \('f', 'f'\) in Wrong",
    ),
    "none": ({"gates": ()}, "gates: expected of a cell a tuple of different names"),
    "a string": ({"gates": "f"}, "gates: expected of a cell a tuple of different names, found 'f' in Wrong"),
    "enters": ({"enters": "full"}, 'enters: expected of a cell "dense", "diagonal" or "none", found \'full\' in Wrong'),
    "states": ({"states": ("c",)}, r'states: expected of a cell \("h",\) or \("h", "c"\), found \(\'c\',\) in Wrong'),
    "units, a string": ({"units": "alpha"}, "units: expected of a cell a tuple of different names"),
    "units, a matrix": ({"units": ("ih",)}, r"units: .* and none of ih, hh, hr, found \('ih',\) in Wrong"),
    "no output": (
        {"states": ("h", "c")},
        r"output: Wrong\(\) has the states \('h', 'c'\); expected an output= of its update where there are h and c",
    ),
    "entered": ({"recurrent_gates": ("g",)}, r"recurrent_gates: expected of a cell some of \('f',\), or None, found"),
}


@pytest.mark.parametrize("mistake", DECLARED)
def test_what_a_class_says_of_itself(mistake: str) -> None:
    declared, message = DECLARED[mistake]
    wrong = type("Wrong", (Right,), declared)
    with pytest.raises(ValueError, match=message):
        tt.Recurrent(wrong(), 3, 4)
    with pytest.raises(ValueError, match=message):
        tt.show_kernel(wrong)


STEPS: dict[str, tuple[Any, type[Exception], str]] = {
    "no update": (lambda self, x, u, h: tt.tanh(x.f + u.f), TypeError, r"step: expected .* to return tt\.Update\("),
    "undeclared": (
        lambda self, x, u, h: tt.Update(keep=0, write=1, candidate=tt.tanh(x.g)),
        AttributeError,
        "step: there is no 'g' here, but f; gates are declared in `gates`",
    ),
    "of torch": (
        lambda self, x, u, h: tt.Update(keep=0, write=1, candidate=torch.tanh(x.f + u.f)),
        TypeError,
        r"step: .* cannot be read as symbols .* use tt\.sigmoid, .* and arithmetic, and tt\.elementwise",
    ),
}


def in_place(self: Any, x: Any, u: Any, h: Any) -> tt.Update:
    h *= 0.5
    return tt.Update(keep=1, write=1, candidate=tt.tanh(x.f + u.f))


def in_place_on_gate(self: Any, x: Any, u: Any, h: Any) -> tt.Update:
    a = x.f
    a += u.f
    return tt.Update(keep=0, write=1, candidate=tt.tanh(a))


STEPS |= {
    "branch": (
        lambda self, x, u, h: tt.Update(keep=0, write=1, candidate=x.f if x.f > 0 else u.f),
        TypeError,
        r"step: Wrong\(\) branches on a value, .* use tt\.relu, .* tt\.elementwise",
    ),
    "maximum": (lambda self, x, u, h: tt.Update(0, 1, max(x.f + u.f, 0)), TypeError, "branches on a value"),
    "method": (
        lambda self, x, u, h: tt.Update(keep=0, write=1, candidate=(x.f + u.f).tanh()),
        TypeError,
        r"step: Wrong\(\) cannot be read as symbols \(AttributeError: .* and tt\.elementwise for any other function",
    ),
    "math": (lambda self, x, u, h: tt.Update(0, 1, math.tanh(x.f + u.f)), TypeError, "cannot be read as symbols"),
    "comparison": (lambda self, x, u, h: tt.Update(0, 1, (x.f > 0) * x.f), TypeError, "cannot be read as symbols"),
    "output of one state": (
        lambda self, x, u, h: tt.Update(0, 1, tt.tanh(x.f + u.f), output=tt.tanh),
        ValueError,
        r"output: Wrong\(\) has the states \('h',\); expected .* none where there is h alone",
    ),
    "nothing": (lambda self, x, u, h: tt.Update(0, 0, tt.tanh(x.f + u.f)), ValueError, "depends on nothing"),
    "no candidate": (
        lambda self, x, u, h: tt.Update(0, 1, None),
        ValueError,
        r"candidate: expected of Wrong\(\) a number or an expression, found None",
    ),
    "arguments": (lambda self, x, u: tt.Update(0, 1, x.f + u.f), TypeError, "to take 3 arguments, x, u, h"),
    "state in place": (in_place, ValueError, r"step: Wrong\(\) changes the carried state in place; write a = a \* b"),
    "gate in place": (in_place_on_gate, ValueError, r"step: Wrong\(\) changes x\.f in place"),
}


@pytest.mark.parametrize("mistake", STEPS)
def test_what_a_step_does(mistake: str) -> None:
    step, error, message = STEPS[mistake]
    with pytest.raises(error, match=message):
        tt.Recurrent(type("Wrong", (Right,), {"step": step})(), 3, 4)


def test_learned_vectors_are_an_argument() -> None:
    with pytest.raises(TypeError, match="to take 4 arguments, x, u, h, its learned vectors"):
        tt.Recurrent(type("Wrong", (Right,), {"units": ("a",)})(), 3, 4)


def test_what_a_cell_is_made_of_can_be_hashed() -> None:
    wrong = Right()
    wrong.scales = [1, 2]
    with pytest.raises(ValueError, match=r"scales: expected .* that they can be hashed, found \[1, 2\] in Right"):
        tt.Recurrent(wrong, 3, 4)


def test_a_derivative_that_is_not_known_is_told() -> None:
    step = lambda self, x, u, h: tt.Update(0, 1, (x.f + u.f) % 1)  # noqa: E731
    layer = tt.Recurrent(type("Wrong", (Right,), {"step": step})(), 3, 4, backend="reference")
    with pytest.raises(ValueError, match=r"a derivative that is not known, .* by tt\.elementwise"):
        tt.examine(layer, torch.randn(5, 2, 3), loss=lambda output, _: output[0].sum((1, 2)))
