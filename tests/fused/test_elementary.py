"""The kernels' own functions against the same in 50 digits."""

from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from throughtime.fused.compiling import inlined
from throughtime.fused.elementary import DOUBLE, SINGLE

# Units in the last place, as the docstring has them.
VALUE, SLOPE = 3, 5


def sigmoid(a: Any) -> Any:
    return 1 / (1 + mpmath.exp(-a))


EXACT = {
    "sigmoid": (sigmoid, VALUE),
    "sigmoid_slope": (lambda a: sigmoid(a) * sigmoid(-a), SLOPE),
    "tanh": (mpmath.tanh, VALUE),
    "tanh_slope": (lambda a: mpmath.sech(a) ** 2, SLOPE),
}


def applied(name: str, real: Any, arguments: Any) -> Any:
    function = getattr(SINGLE if real is np.float32 else DOUBLE, name)

    @inlined
    def over(arguments: Any, found: Any) -> None:
        for place in range(len(arguments)):
            found[place] = function(arguments[place])

    found = np.empty_like(arguments)
    over(arguments, found)
    return found


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT)
def test_units_in_the_last_place(name: str, real: Any) -> None:
    exact, allowed = EXACT[name]
    # Up to where the slopes leave the normal numbers.
    end = 43 if real is np.float32 else 353
    near, far = np.linspace(-8, 8, 1501), np.geomspace(1e-6, end, 300)
    arguments = np.concatenate([near, far, -far]).astype(real)
    with mpmath.workdps(50):
        truth = [exact(mpmath.mpf(float(a))) for a in arguments]
        units = [abs(mpmath.mpf(float(f)) - t) for f, t in zip(applied(name, real, arguments), truth, strict=True)]
        spacing = np.spacing(np.abs(np.array([float(t) for t in truth]).astype(real))).astype(float)
        assert max(float(unit / mpmath.mpf(space)) for unit, space in zip(units, spacing, strict=True)) <= allowed


@pytest.mark.parametrize("real", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*EXACT, "relu", "relu_slope"])
def test_at_the_ends(name: str, real: Any) -> None:
    found = applied(name, real, np.array([-np.inf, -1e4, 0, 1e4, np.inf, np.nan], dtype=real))
    expected = {
        "sigmoid": [0, 0, 0.5, 1, 1],
        "sigmoid_slope": [0, 0, 0.25, 0, 0],
        "tanh": [-1, -1, 0, 1, 1],
        "tanh_slope": [0, 0, 1, 0, 0],
        "relu": [0, 0, 0, 1e4, np.inf],
        "relu_slope": [0, 0, 0, 1, 1],
    }[name]
    # What is exactly zero may be the smallest normal number here.
    np.testing.assert_allclose(found[:-1], expected, rtol=0, atol=8 * float(np.finfo(real).tiny))
    assert np.isnan(found[-1]) == (name != "relu_slope")


def test_relu_is_that_of_torch() -> None:
    arguments = np.array([-2, -0.0, 0, 3, np.nan], dtype=np.float32)
    expected = torch.relu(torch.from_numpy(arguments)).numpy()
    np.testing.assert_array_equal(applied("relu", np.float32, arguments), expected)
