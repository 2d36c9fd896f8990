"""Mistakes in a cell of one's own are told as what they are."""

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
        r"step: .* calls a function of torch's .* use tt\.sigmoid, tt\.tanh, tt\.relu and arithmetic",
    ),
}


@pytest.mark.parametrize("mistake", STEPS)
def test_what_a_step_does(mistake: str) -> None:
    step, error, message = STEPS[mistake]
    with pytest.raises(error, match=message):
        tt.Recurrent(type("Wrong", (Right,), {"step": step})(), 3, 4)(torch.randn(60, 32, 3))
