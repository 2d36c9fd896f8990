"""Which executor runs, and what is said where none can."""

import pytest
import torch

from throughtime.cells import GRU, Cell, Update, elementwise
from throughtime.fused import executor

SEQUENCE = torch.zeros(2, 1, 3)
softsign = elementwise("softsign", lambda a: a / (1 + a.abs()), lambda a: (1 + a.abs()) ** -2, r"\mathrm{softsign}")


class Softsign(Cell):
    gates = ("h",)

    def step(self, x, u, h):
        return Update(keep=0, write=1, candidate=softsign(x.h + u.h))


def test_what_is_asked_for_is_what_runs() -> None:
    assert executor(GRU(), SEQUENCE, "fused") == "fused"
    assert executor(GRU(), SEQUENCE, "reference") == "reference"


def test_an_unknown_backend() -> None:
    with pytest.raises(ValueError, match=r"backend: expected one of .*, found 'fast'"):
        executor(GRU(), SEQUENCE, "fast")


def test_a_function_that_no_kernel_knows() -> None:
    with pytest.raises(ValueError, match=r"backend: Softsign\(\) cannot be fused: .*softsign.*; use backend='auto'"):
        executor(Softsign(), SEQUENCE, "fused")
    assert executor(Softsign(), SEQUENCE, "auto") == "reference"


def test_a_type_of_number_that_no_kernel_has() -> None:
    with pytest.raises(ValueError, match=r"GRU\(\) cannot be fused: .*float32 and float64, and this is torch.bfloat16"):
        executor(GRU(), SEQUENCE.bfloat16(), "fused")


def test_another_device() -> None:
    with pytest.raises(ValueError, match="kernels run on the CPU, and this is on meta"):
        executor(GRU(), SEQUENCE.to("meta"), "fused")


def test_under_a_transformation() -> None:
    with pytest.raises(ValueError, match=r"no rule for torch\.func"):
        torch.func.vmap(lambda one: one * (executor(GRU(), one, "fused") == "fused"))(SEQUENCE)
