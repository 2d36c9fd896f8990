"""Which executor runs, and what is said where none can."""

import pytest
import torch

from throughtime.cells import GRU
from throughtime.fused import executor

SEQUENCE = torch.zeros(2, 1, 3)


def test_what_is_asked_for_is_what_runs() -> None:
    assert executor(GRU(), SEQUENCE, "fused") == "fused"
    assert executor(GRU(), SEQUENCE, "reference") == "reference"


def test_an_unknown_backend() -> None:
    with pytest.raises(ValueError, match=r"backend: expected one of .*, found 'fast'"):
        executor(GRU(), SEQUENCE, "fast")


def test_a_type_of_number_that_no_kernel_has() -> None:
    with pytest.raises(ValueError, match=r"GRU\(\) cannot be fused: .*float32 and float64, and this is torch.bfloat16"):
        executor(GRU(), SEQUENCE.bfloat16(), "fused")


def test_another_device() -> None:
    with pytest.raises(ValueError, match="kernels run on the CPU, and this is on meta"):
        executor(GRU(), SEQUENCE.to("meta"), "fused")


def test_under_a_transformation() -> None:
    with pytest.raises(ValueError, match=r"no rule for torch\.func"):
        torch.func.vmap(lambda one: one * (executor(GRU(), one, "fused") == "fused"))(SEQUENCE)
