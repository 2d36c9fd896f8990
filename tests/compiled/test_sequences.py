"""Products of a sequence, some steps at a time, against those of all steps at once."""

import numpy as np
import pytest
import torch

from throughtime.compiled.product import ready
from throughtime.compiled.sequences import add_gradients, give_back, multiply_ahead, numbered, room

for dtype in (torch.float32, torch.float64):
    ready(dtype)

STEPS, BATCH, FEATURES, GATES = 7, 5, 3, 4
# Samples of one part, and how many of their rows are multiplied together: 3 steps, 1 step, and more than there are.
FIRST, END, TOGETHER = 1, 4, (11, 2, 100)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def drawn(request):
    generator = np.random.default_rng(0)
    return lambda *shape: generator.standard_normal(shape).astype(request.param)


def tolerance(array):
    return {"rtol": 1e-5, "atol": 1e-5} if array.dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-13}


def test_rows_are_numbered():
    assert numbered(3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("together", "steps"), [(11, 3), (2, 1), (9, 3)])
def test_room_for_whole_steps(together, steps, drawn):
    found, like = room(together, 3, 4, drawn(1)), drawn(1)
    assert found.shape == (3 * steps, 4)
    assert found.dtype == like.dtype


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("together", TOGETHER)
def test_the_steps_that_come_next(together, reverse, drawn):
    sequence, weight, bias = drawn(STEPS, BATCH, FEATURES), drawn(FEATURES, GATES), drawn(GATES)
    expected = (sequence @ weight + bias)[:: -1 if reverse else 1, FIRST:END]
    rows = END - FIRST
    ahead, read = (room(together, rows, width, sequence) for width in (GATES, FEATURES))
    for number in range(0, STEPS, len(ahead) // rows):
        multiply_ahead(ahead, read, sequence, weight, bias, number, reverse, FIRST, END)
        for step, wanted in enumerate(expected[number : number + len(ahead) // rows]):
            np.testing.assert_allclose(ahead[step * rows : (step + 1) * rows], wanted, **tolerance(ahead))


def test_gradients_are_added(drawn):
    grad, read = drawn(12, GATES), drawn(12, FEATURES)
    of_weight, of_bias = drawn(GATES, FEATURES), drawn(GATES)
    expected = of_weight + grad.T @ read, of_bias + grad.sum(0)
    add_gradients(of_weight, of_bias, grad, read)
    for found, wanted in zip((of_weight, of_bias), expected, strict=True):
        np.testing.assert_allclose(found, wanted, **tolerance(found))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("together", TOGETHER)
def test_what_is_given_back(together, reverse, drawn):
    grad, weight = drawn(STEPS, BATCH, GATES), drawn(GATES, FEATURES)
    out, rows = np.full((STEPS, BATCH, FEATURES), np.nan, grad.dtype), END - FIRST
    read = room(together, rows, FEATURES, grad)
    # From the last step that was read to the first.
    back = np.ascontiguousarray(grad[:: 1 if reverse else -1, FIRST:END].reshape(-1, GATES))
    for place in range(0, len(back), len(read)):
        give_back(out, back[place : place + len(read)], weight, read, place // rows, reverse, FIRST, END)
    np.testing.assert_allclose(out[:, FIRST:END], (grad @ weight)[:, FIRST:END], **tolerance(out))
    assert np.isnan(np.delete(out, np.s_[FIRST:END], axis=1)).all()


def test_nobody_asks(drawn):
    nothing, read = drawn(0, BATCH, FEATURES), drawn(3, FEATURES)
    before = read.copy()
    give_back(nothing, drawn(3, GATES), drawn(GATES, FEATURES), read, 0, False, FIRST, END)
    np.testing.assert_array_equal(read, before)
