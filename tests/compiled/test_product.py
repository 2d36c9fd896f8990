"""The product at every step against NumPy's, at sizes that leave something over."""

import subprocess
import sys

import numba
import numpy as np
import pytest
import torch

from throughtime.compiled.product import add_matrix_product, add_product, ready

for dtype in (torch.float32, torch.float64):
    ready(dtype)


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    out = left.new_zeros(len(left), right.shape[1])
    add_matrix_product(out, left, right)
    return out


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rows", "shared", "columns"), [(300, 600, 70), (37, 5, 1), (1, 300, 33), (0, 4, 4), (4, 0, 4)]
)
def test_of_tensors(rows: int, shared: int, columns: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    left, right = torch.randn(rows, shared, dtype=dtype), torch.randn(shared, columns, dtype=dtype)
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(product(left, right), left @ right, rtol=tolerance, atol=tolerance)
    # However the matrices lie in memory.
    turned = product(left.t().contiguous().t(), right.t().contiguous().t())
    assert (turned == product(left, right)).all()


def test_is_the_same_on_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    left, right = torch.randn(301, 70), torch.randn(70, 45)
    expected = product(left, right)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert (product(left, right) == expected).all()


def test_added_to_some_columns_of_a_tensor() -> None:
    torch.manual_seed(0)
    whole, left, right = torch.randn(35, 50), torch.randn(9, 35).T, torch.randn(9, 21)
    expected = whole.clone()
    expected[:, 20:41] += left @ right
    add_matrix_product(whole[:, 20:41], left, right)
    torch.testing.assert_close(whole, expected, rtol=1e-5, atol=1e-5)


def test_leaves_numbers_of_threads_alone() -> None:
    all_of_them = numba.config.NUMBA_NUM_THREADS
    numba.set_num_threads(all_of_them)
    product(torch.randn(3, 4), torch.randn(4, 5))
    assert numba.get_num_threads() == all_of_them


def test_leaves_torchs_threads_alone_where_it_is_the_first_to_start_numbas() -> None:
    program = """
import torch
from throughtime.compiled import add_matrix_product
torch.set_num_threads(1)
add_matrix_product(torch.ones(3, 5), torch.ones(3, 4), torch.ones(4, 5))
assert torch.get_num_threads() == 1, torch.get_num_threads()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
