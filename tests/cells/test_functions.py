"""The element-wise functions: values, slopes, and the precision of slopes deep in saturation."""

import mpmath
import pytest
import sympy
import torch

from throughtime.cells import elementwise, relu, sigmoid, tanh
from throughtime.cells.functions import ON_TENSORS

PRE_ACTIVATIONS = torch.tensor([-300, -40, -20, -1.5, -0.1, 0, 0.1, 1.5, 20, 40, 300], dtype=torch.float64)
EXACT_SLOPES = {
    "tanh": lambda a: mpmath.sech(a) ** 2,
    "sigmoid": lambda a: mpmath.exp(-abs(a)) / (1 + mpmath.exp(-abs(a))) ** 2,
}


def slope_of(function, a: torch.Tensor) -> torch.Tensor:
    symbol = sympy.Symbol("a")
    return sympy.lambdify([symbol], sympy.diff(function(symbol), symbol), modules=[ON_TENSORS])(a)


def test_two_functions_may_bear_one_name() -> None:
    other = elementwise("tanh", torch.sin, torch.cos, r"\sin")
    a = torch.tensor(0.5)
    assert slope_of(other, a) == torch.cos(a) and slope_of(tanh, a) != torch.cos(a)


@pytest.mark.parametrize("name", EXACT_SLOPES)
def test_slope_keeps_its_relative_precision_in_saturation(name: str) -> None:
    with mpmath.workdps(400):
        exact = [float(EXACT_SLOPES[name](mpmath.mpf(float(a)))) for a in PRE_ACTIVATIONS]
    slopes = slope_of({"tanh": tanh, "sigmoid": sigmoid}[name], PRE_ACTIVATIONS)
    torch.testing.assert_close(slopes, torch.tensor(exact, dtype=torch.float64), rtol=1e-14, atol=0)


def test_slope_of_tanh_at_20_where_the_usual_formula_is_zero() -> None:
    a = torch.tensor(20.0, dtype=torch.float64)
    assert 1 - torch.tanh(a).square() == 0
    assert slope_of(tanh, a).item() == pytest.approx(float(mpmath.sech(20) ** 2), rel=1e-15)


@pytest.mark.parametrize(("function", "reference"), [(sigmoid, torch.sigmoid), (tanh, torch.tanh), (relu, torch.relu)])
def test_value_is_torchs_and_slope_is_autograds(function, reference) -> None:
    a = torch.linspace(-3, 3, 21, dtype=torch.float64, requires_grad=True)
    assert torch.equal(function(a), reference(a))
    (expected,) = torch.autograd.grad(reference(a).sum(), a)
    torch.testing.assert_close(slope_of(function, a.detach()), expected, rtol=1e-13, atol=1e-16)


def test_on_a_symbol_it_is_an_expression_that_can_be_derived_and_typeset() -> None:
    a = sympy.Symbol("a", real=True)
    assert sympy.latex(sympy.diff(tanh(2 * a), a)) == r"2 \tanh'\left(2 a\right)"


def test_a_function_of_ones_own() -> None:
    softplus = elementwise("softplus", torch.nn.functional.softplus, torch.sigmoid, r"\mathrm{softplus}")
    a = torch.tensor([0.5], dtype=torch.float64)
    symbol = sympy.Symbol("a", real=True)
    slope = sympy.lambdify([symbol], sympy.diff(softplus(symbol), symbol), modules=[ON_TENSORS])
    assert torch.equal(slope(a), torch.sigmoid(a))
    assert torch.equal(softplus(a), torch.nn.functional.softplus(a))


def test_a_slope_that_is_not_the_derivative_is_refused() -> None:
    with pytest.raises(ValueError, match=r"slope: that of 'square' at -8 is -8, and the derivative of its value -16"):
        elementwise("square", torch.square, lambda a: a, r"\square")


def test_the_slope_of_a_step_function_is_a_matter_of_choice() -> None:
    spike = elementwise("spike", lambda a: (a > 0).to(a), lambda a: 1 / (1 + a.abs()).square(), r"\Theta")
    rounded = elementwise("rounded", torch.round, torch.ones_like, r"\mathrm{round}")
    a = torch.tensor([1.2], dtype=torch.float64)
    assert (spike(a).item(), rounded(a).item()) == (1, 1)
