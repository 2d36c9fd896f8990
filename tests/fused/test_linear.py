"""The product with the inputs against torch's, with its derivatives."""

import pytest
import torch
from torch.nn import functional

from throughtime.fused import linear


def arguments(bias: bool = True) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    sizes = ((3, 2, 5), (4, 5), *([(4,)] if bias else []))
    return tuple(torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes)


@pytest.mark.parametrize("bias", [True, False])
def test_is_torchs(bias: bool) -> None:
    given = arguments(bias)
    found, expected = linear(*given, *([] if bias else [None])), functional.linear(*given)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    weight = torch.randn_like(found)
    for one, other in zip(*(torch.autograd.grad(of, given, weight) for of in (found, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


def test_derivatives_of_derivatives() -> None:
    assert torch.autograd.gradcheck(linear, arguments(), check_batched_grad=True)
    assert torch.autograd.gradgradcheck(linear, arguments())


def test_autocast_lowers_the_precision() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(torch.randn(3, 2, 5), torch.randn(4, 5), None).dtype == torch.bfloat16
