"""The compiled products of cells against one line of PyTorch, at odd sizes and with cells that are empty."""

import pytest
import torch

from throughtime.compiled import add_cell_products


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("members", [1, 4, 7])
def test_against_torch(members, dtype):
    generator = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=generator, dtype=dtype)  # noqa: E731
    rows, coefficients, before = normal(5, 6, members, 13), normal(5, members, 3, 13), normal(6, 3, 13)
    ln_scale = normal(5, 6).double()
    # What lies in an empty cell is never looked at.
    ln_scale[1:3, 2:4] = -torch.inf
    rows[1:3, 2:4] = torch.nan
    found = before.clone()
    add_cell_products(rows, ln_scale, coefficients, found)
    scaled = rows.nan_to_num() * ln_scale.exp().to(dtype)[..., None, None]
    expected = before + torch.einsum("scmh,smdh->cdh", scaled, coefficients)
    torch.testing.assert_close(found, expected)
