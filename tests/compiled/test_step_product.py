"""Products with a step Jacobian against the matrix written out, at sizes that leave something over."""

import pytest
import torch
from torch import Tensor

from throughtime.compiled import StepProducts, row_norms

BATCH, ROWS, HIDDEN = 3, 150, 37


def drawn(gates: int, projected: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    torch.manual_seed(0)
    slopes = list(torch.randn(gates, BATCH, HIDDEN, dtype=dtype))
    weights = list(torch.randn(gates, HIDDEN, projected, dtype=dtype))
    return torch.randn(BATCH, ROWS, HIDDEN, dtype=dtype), slopes, weights


def product(slopes: list[Tensor], weights: list[Tensor], carry: Tensor | None) -> StepProducts:
    """Of three steps, of which the second is the one that is given."""

    def among_others(tensor: Tensor) -> Tensor:
        return torch.stack([torch.full_like(tensor, torch.nan), tensor, torch.full_like(tensor, torch.nan)])

    return StepProducts(list(map(among_others, slopes)), weights, None if carry is None else among_others(carry))


@pytest.mark.parametrize("formed", [True, False])
@pytest.mark.parametrize("adding", [True, False])
@pytest.mark.parametrize(("gates", "projected", "carried"), [(1, HIDDEN, False), (3, HIDDEN, True), (3, 5, False)])
def test_is_the_product_with_the_matrix(gates: int, projected: int, carried: bool, adding: bool, formed: bool) -> None:
    vectors, slopes, weights = drawn(gates, projected)
    carry = torch.randn(BATCH, HIDDEN, dtype=torch.float64) if carried else None
    matrices = sum(slope.unsqueeze(-1) * weight for slope, weight in zip(slopes, weights, strict=True))
    matrices = matrices + (0 if carry is None else torch.diag_embed(carry))
    into = (
        torch.randn(BATCH, ROWS, projected, dtype=torch.float64)
        if adding
        else torch.full((BATCH, ROWS, projected), torch.nan, dtype=torch.float64)
    )
    expected = vectors @ matrices + (into if adding else 0)
    norms = product(slopes, weights, carry).multiply(1, vectors, into, adding, formed)
    torch.testing.assert_close(into, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(norms, torch.linalg.vector_norm(expected, dim=-1), rtol=1e-12, atol=0)


@pytest.mark.parametrize("formed", [True, False])
def test_neither_threads_nor_other_rows_change_a_digit(formed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, slopes, weights = drawn(2, HIDDEN, torch.float32)
    carry = torch.randn(BATCH, HIDDEN)
    together, alone = torch.empty(2, BATCH, ROWS, HIDDEN)
    products = product(slopes, weights, carry)
    products.multiply(1, vectors, together, False, formed)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 5)
    for row in range(ROWS):
        into = torch.empty(BATCH, 1, HIDDEN)
        products.multiply(1, vectors[:, row : row + 1], into, False, formed)
        alone[:, row] = into.squeeze(1)
    assert (together == alone).all()
    again = torch.empty_like(together)
    products.multiply(1, vectors, again, False, formed)
    assert (again == together).all()


def test_no_vectors() -> None:
    vectors, slopes, weights = drawn(2, HIDDEN)
    norms = product(slopes, weights, None).multiply(1, vectors[:, :0], vectors.new_empty(BATCH, 0, HIDDEN), False, True)
    assert norms.shape == (BATCH, 0)


@pytest.mark.parametrize("by_sample", [True, False])
def test_norms_lose_no_square(by_sample: bool) -> None:
    torch.manual_seed(0)
    rows = torch.randn(7, BATCH, HIDDEN) * torch.tensor([1e-38, 1e-30, 1e-10, 0, 1, 1e20, 1e37])[:, None, None]
    given = torch.empty(BATCH, 9, HIDDEN).transpose(0, 1)[1:8] if by_sample else rows
    given.copy_(rows)
    torch.testing.assert_close(row_norms(given), torch.linalg.vector_norm(rows.double(), dim=-1), rtol=1e-14, atol=0)
