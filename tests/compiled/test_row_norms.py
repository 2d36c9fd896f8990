"""The compiled norms against PyTorch's of numbers in the middle of the range."""

import math

import pytest
import torch

from throughtime.compiled import row_norms


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 1e-30), (torch.float32, 1e30), (torch.float64, 1.0)])
def test_norms(dtype, size):
    torch.manual_seed(0)
    rows = (size * torch.randn(5, 3, 7, dtype=torch.float64)).to(dtype)
    expected = torch.linalg.vector_norm(rows.double(), dim=-1)
    torch.testing.assert_close(row_norms(rows), expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(row_norms(rows[:, 0]), expected[:, 0], rtol=1e-13, atol=0)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_where_squares_leave_the_range(size):
    rows = torch.tensor([[3.0, -4.0], [0.0, 0.0]], dtype=torch.float64) * size
    assert row_norms(rows).tolist() == pytest.approx([5 * size, 0], rel=1e-13)


def test_what_is_not_finite_stays_so():
    found = row_norms(torch.tensor([[1.0, math.inf], [math.nan, 1.0], [math.nan, math.inf], [math.nan, math.nan]]))
    assert not found.isfinite().any()
