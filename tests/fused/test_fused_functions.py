"""Functions of somebody else's equations, in a kernel, against themselves on tensors."""

from typing import Any

import pytest
import torch
from torch.nn import functional

import throughtime as tt
from throughtime.fused.by_kernel import by_kernel
from throughtime.fused.elementary import DOUBLE
from throughtime.fused.executor import executor
from throughtime.fused.functions import written
from throughtime.fused.languages import NUMBA
from throughtime.fused.reference import reference

ARGUMENTS = torch.tensor([-30, -2.5, -1, -0.3, 0, 0.2, 1, 1.7, 25], dtype=torch.float64)
FUNCTIONS = {
    "softsign": functional.softsign,
    "its slope": lambda a: (1 + a.abs()) ** -2,
    "softplus": functional.softplus,
    "elu": functional.elu,
    "silu": functional.silu,
    "leaky relu": lambda a: functional.leaky_relu(a, 0.1),
    "hardtanh": functional.hardtanh,
    "gelu": functional.gelu,
    "hardswish": functional.hardswish,
    "from below": lambda a: a.clamp(min=-1),
    "step": lambda a: (a > 0).to(a.dtype),
    "where": lambda a: torch.where(a > 1, a.square(), torch.zeros_like(a)),
    "sine": lambda a: 2.5 * torch.sin(a) - a**3,
    "a tensor": lambda a: torch.maximum(a, torch.tensor(0.5, dtype=torch.float64)),
    "power": lambda a: 2**a,
    "sigmoid": lambda a: 1 - torch.sigmoid(a) * torch.tanh(a) + torch.relu(a).rsqrt(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_written(name: str) -> None:
    function = FUNCTIONS[name]
    scope: dict[str, Any] = {"inlined": lambda one: one, "real": float, **{k: getattr(DOUBLE, k) for k in NUMBA.known}}
    exec("import math" + written("own", function, NUMBA), scope)
    # Zero has no inverse in Python, while it has one in compiled code.
    arguments = ARGUMENTS[ARGUMENTS > 0] if name == "sigmoid" else ARGUMENTS
    found = torch.tensor([scope["own"](float(a)) for a in arguments], dtype=torch.float64)
    torch.testing.assert_close(found, function(arguments), rtol=1e-12, atol=1e-14)


def test_what_cannot_be_written() -> None:
    with pytest.raises(ValueError, match=r"it calls aten\.lgamma\.default, which no kernel in"):
        written("own", torch.lgamma, NUMBA)
    with pytest.raises(ValueError, match="it cannot be traced"):
        written("own", lambda a: a if a > 0 else -a, NUMBA)


softsign = tt.elementwise("softsign", functional.softsign, lambda a: (1 + a.abs()) ** -2, r"\mathrm{softsign}")
logarithm = tt.elementwise("ln gamma", torch.lgamma, torch.digamma, r"\ln\Gamma")
abrupt = tt.elementwise("abrupt", lambda a: a if a > 0 else 0 * a, lambda a: a, r"\mathrm{abrupt}")


class OfOnesOwn(tt.Cell):
    gates = ("keep", "new")

    def __init__(self, function: Any) -> None:
        self.function = function

    def step(self, x, u, h):
        keep = tt.sigmoid(x.keep + u.keep)
        return tt.Update(keep=keep, write=1 - keep, candidate=self.function(x.new + u.new))


def test_a_cell_with_a_function_of_ones_own() -> None:
    torch.manual_seed(0)
    cell = OfOnesOwn(softsign)
    sequence, hidden = torch.randn(9, 3, 2, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    shapes = {"weight_ih": (10, 2), "weight_hh": (10, 5)}
    weights = {name: torch.randn(shape, dtype=torch.float64, requires_grad=True) for name, shape in shapes.items()}
    found = []
    for by in (by_kernel, reference):
        steps = by(cell, sequence, weights, {"h": hidden}).steps["h"]
        found.append((steps, *torch.autograd.grad(steps.sin().sum(), weights["weight_hh"])))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            logarithm,
            r"of the function 'ln gamma' the value: it calls aten\.lgamma\.default, which no kernel in",
        ),
        (abrupt, r"of the function 'abrupt' the value: it cannot be traced"),
    ],
)
def test_a_cell_that_cannot_be_fused(function: Any, message: str) -> None:
    cell, sequence = OfOnesOwn(function), torch.zeros(200, 8, 64)
    with pytest.raises(ValueError, match=rf"cannot be fused: {message}"):
        executor(cell, sequence, "fused")
    assert executor(cell, sequence, "auto") == "reference"


def test_two_functions_of_one_name() -> None:
    twin = tt.elementwise("softsign", torch.sin, torch.cos, r"\sin")
    cell = OfOnesOwn(lambda a: softsign(a) + twin(a))
    with pytest.raises(ValueError, match="two functions of its equations are named 'softsign'"):
        executor(cell, torch.zeros(2, 1, 3), "fused")
