"""Scalar products along the paths against PyTorch."""

import pytest
import torch

from throughtime.compiled import path_products


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1.0, 1e-30])
def test_path_products(dtype, size):
    """Also of numbers whose squares are beyond float32."""
    torch.manual_seed(0)
    paths = (size * torch.randn(3, 4, 2, 7, dtype=torch.float64)).to(dtype)
    with_sum, squares = path_products(paths)
    exact = paths.double()
    products = torch.einsum("prbh,qrbh->pqrb", exact, exact)
    torch.testing.assert_close(with_sum / size**2, products.sum(1) / size**2, rtol=0, atol=1e-12)
    torch.testing.assert_close(squares, products.diagonal().permute(2, 0, 1), rtol=1e-12, atol=0)
