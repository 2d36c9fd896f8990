"""The product at every step against NumPy's, at sizes that leave something over."""

import subprocess
import sys

import numba
import numpy as np
import pytest
import torch

from throughtime.compiled import row_norms
from throughtime.compiled.product import add_product, ready

for dtype in (torch.float32, torch.float64):
    ready(dtype)


@pytest.mark.parametrize(("rows", "shared", "columns"), [(4, 4, 16), (7, 37, 111), (1, 3, 5), (9, 6, 1), (0, 4, 4)])
def test_is_added(rows: int, shared: int, columns: int) -> None:
    random = np.random.default_rng(0)
    out, left, right = (random.normal(size=size) for size in ((rows, columns), (rows, shared), (shared, columns)))
    expected = out + left @ right
    add_product(out, left, right)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-13)


def test_a_row_alone_is_the_same_to_the_last_digit() -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(7, 37)), random.normal(size=(37, 111))
    together, alone = np.zeros((2, 7, 111))
    add_product(together, left, right)
    for row in range(7):
        add_product(alone[row : row + 1], left[row : row + 1], right)
    assert (together == alone).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("rows", "shared", "columns"), [(300, 600, 70), (37, 5, 1), (1, 300, 33), (0, 4, 4), (4, 0, 4)]
)
def test_of_large_matrices_however_the_left_one_lies(rows: int, shared: int, columns: int, dtype: type) -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(size=(rows, shared)).astype(dtype), random.normal(size=(shared, columns)).astype(dtype)
    tolerance = {np.float32: 1e-4, np.float64: 1e-12}[dtype]
    straight, turned = np.zeros((2, rows, columns), dtype)
    add_product(straight, left, right)
    np.testing.assert_allclose(straight, left @ right, rtol=tolerance, atol=tolerance)
    add_product(turned, np.ascontiguousarray(left.T).T, right)
    assert (turned == straight).all()


def test_added_to_some_columns() -> None:
    random = np.random.default_rng(0)
    whole, left, right = random.normal(size=(35, 50)), random.normal(size=(9, 35)).T, random.normal(size=(9, 21))
    expected = whole.copy()
    expected[:, 20:41] += left @ right
    add_product(whole[:, 20:41], left, right)
    np.testing.assert_allclose(whole, expected, rtol=1e-12, atol=1e-13)


def test_what_is_added_is_summed_by_itself() -> None:
    """To a large number, many small ones that it would lose one by one."""
    out = np.full((9, 40), 2.0**24, np.float32)
    add_product(out, np.ones((9, 256), np.float32), np.ones((256, 40), np.float32))
    assert (out == 2.0**24 + 256).all()


def test_leaves_numbers_of_threads_alone() -> None:
    all_of_them = numba.config.NUMBA_NUM_THREADS
    numba.set_num_threads(all_of_them)
    row_norms(torch.randn(3, 4))
    assert numba.get_num_threads() == all_of_them


def test_leaves_torchs_threads_alone_where_it_is_the_first_to_start_numbas() -> None:
    program = """
import torch
from throughtime.compiled import row_norms
torch.set_num_threads(1)
row_norms(torch.ones(3, 4))
assert torch.get_num_threads() == 1, torch.get_num_threads()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
