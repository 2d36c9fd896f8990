"""The product at every step against NumPy's, at sizes that leave something over."""

import numpy as np
import pytest

from throughtime.fused.product import add_product


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
