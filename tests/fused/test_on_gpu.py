"""Kernels in Triton: run on the CPU by Triton's interpreter against the reference, and compiled for a GPU.

The interpreter is slow: most sequences are short here.
"""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from test_by_kernel import Drawn
from test_fused_functions import ARGUMENTS, FUNCTIONS, OfOnesOwn, softsign
from torch import Tensor

import throughtime as tt
from throughtime.cells import ALL_CELLS, CFN, GRU, SRU, Cell, IndRNN, MinGRU, PeepholeLSTM, derive
from throughtime.fused import executor, on_gpu
from throughtime.fused.by_kernel import by_kernel
from throughtime.fused.on_gpu import Kernel, source_of
from throughtime.fused.on_gpu.kernel import OPTIONS, SAMPLES
from throughtime.fused.reference import reference

pytest.importorskip("triton")


def set_interpreter(is_on: bool) -> None:
    """Whether functions that are imported from now on are interpreted, those that kernels call among them."""
    os.environ["TRITON_INTERPRET"] = str(int(is_on))
    for name in ("elementary", "product"):
        sys.modules.pop(f"throughtime.fused.on_gpu.{name}", None)


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    set_interpreter(True)
    yield
    set_interpreter(False)


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Memory that is not written to holds NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def by_triton(cell: Cell, units: int | None = None) -> Callable[..., Any]:
    return partial(by_kernel, kernel=Kernel(cell, units))


@pytest.mark.usefixtures("interpreted", "poisoned")
@pytest.mark.parametrize("cell", [GRU(), PeepholeLSTM(), SRU(), MinGRU()], ids=repr)
def test_outputs_and_gradients_are_those_of_the_reference(cell: Cell) -> None:
    # Three blocks of units.
    compare(Drawn(cell, 7, 5, 37), by_triton(cell, 16), "cpu")


@pytest.mark.gpu
@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_on_a_gpu(cell: Cell) -> None:
    compare(Drawn(cell, 63, 5, 137), by_kernel, "cuda")


def compare(drawn: Drawn, by: Callable[..., Any], device: str) -> None:
    """Outputs and gradients of a kernel on a device with those of the equations on the CPU."""
    found = drawn.run(by, "all", *(one.to(device) for one in drawn.tensors))
    found = [one.cpu() for one in found]
    expected = drawn.run(reference, "all")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    # Sums in another order: what cancels is as exact as what it was summed of.
    for one, other in zip(drawn.gradients(found), drawn.gradients(expected), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11 * max(1.0, float(other.abs().max())))


@pytest.mark.usefixtures("interpreted", "poisoned")
def test_more_samples_than_a_program_runs() -> None:
    drawn = Drawn(GRU(), 3, SAMPLES + 1, 3)
    found, expected = drawn.run(by_triton(GRU()), "reset"), drawn.run(reference, "reset")
    torch.testing.assert_close(drawn.gradients(found), drawn.gradients(expected))


@pytest.mark.usefixtures("interpreted", "poisoned")
@pytest.mark.parametrize("way", ["whole", "all"])
@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_every_cell(cell: Cell, way: str) -> None:
    drawn = Drawn(cell, 3, 3, 3)
    found, expected = drawn.run(by_triton(cell), way), drawn.run(reference, way)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(drawn.gradients(found), drawn.gradients(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("interpreted", "poisoned")
@pytest.mark.parametrize("way", ["reversed", "ragged", "reset"])
@pytest.mark.parametrize("cell", [CFN(), SRU()], ids=repr)
def test_every_way_to_read_in_single_precision(cell: Cell, way: str) -> None:
    drawn = Drawn(cell, 5, 3, 3, torch.float32)
    found, expected = drawn.run(by_triton(cell), way), drawn.run(reference, way)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(drawn.gradients(found), drawn.gradients(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("cell", [GRU(), IndRNN("tanh"), MinGRU()], ids=repr)
def test_derivatives_by_finite_differences(cell: Cell) -> None:
    drawn, by = Drawn(cell, 3, 2, 2), by_triton(cell)

    def outputs(*tensors: Tensor) -> list[Tensor]:
        return drawn.run(by, "all", *tensors)

    assert torch.autograd.gradcheck(outputs, drawn.tensors, fast_mode=True)


@pytest.mark.usefixtures("interpreted")
def test_without_gradients_and_an_empty_batch() -> None:
    drawn = Drawn(GRU(), 3, 2, 2)
    with torch.no_grad():
        torch.testing.assert_close(drawn.run(by_triton(GRU()), "whole"), drawn.run(reference, "whole"))
    empty = Drawn(GRU(), 3, 0, 2)
    outputs = empty.run(by_triton(GRU()), "whole")
    assert all((one == 0).all() for one in empty.gradients(outputs))


# Weights of one unit that passes on its only input.
ITSELF = {"weight_ih": torch.ones(1, 1, dtype=torch.float64)}


class Applied(tt.Cell):
    """h_t = f(x_t)."""

    gates = ("new",)
    enters = "none"

    def __init__(self, function: Any) -> None:
        self.function = function

    def step(self, x, u, h):
        return tt.Update(keep=0, write=1, candidate=self.function(x.new))


# Of the numbers that fill a block and are no units, some functions are infinite.
@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_ones_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is written is looked at, of value and slope alike: here they are one function.
    monkeypatch.setattr("throughtime.cells.functions._check_slope", lambda *given: None)
    cell = Applied(tt.elementwise(name, FUNCTIONS[name], FUNCTIONS[name], r"\phi"))
    if name == "power":
        with pytest.raises(ValueError, match="Triton has roots and small whole powers only"):
            source_of(cell)
        return
    x = ARGUMENTS[ARGUMENTS > 0] if name == "sigmoid" else ARGUMENTS
    found = by_triton(cell)(cell, x.reshape(1, -1, 1), ITSELF, {"h": torch.zeros(len(x), 1).double()})
    torch.testing.assert_close(found.steps["h"].flatten(), FUNCTIONS[name](x), rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("function", [tt.tanh, tt.sigmoid, tt.relu], ids=lambda function: function.__name__)
def test_functions_of_kernels(function: Any) -> None:
    x = torch.tensor([-800, -30, -1.5, -0.35, -0.2, -1e-9, 0, 1e-12, 0.3, 0.36, 20, 900, torch.nan], dtype=torch.double)
    cell, h = Applied(function), torch.zeros(len(x)).double()
    expected = derive(cell).evaluate_update({"new": x}, {}, h, h).input["new"]
    x.requires_grad_()
    found = by_triton(cell)(cell, x.reshape(1, -1, 1), ITSELF, {"h": h.unsqueeze(1)}).last["h"]
    torch.testing.assert_close(found, function(x).unsqueeze(1), rtol=1e-14, atol=0, equal_nan=True)
    torch.testing.assert_close(*torch.autograd.grad(found.sum(), x), expected, rtol=1e-14, atol=0, equal_nan=True)


@pytest.mark.usefixtures("interpreted")
def test_a_cell_with_a_function_of_ones_own() -> None:
    cell = OfOnesOwn(softsign)
    drawn = Drawn(cell, 3, 2, 4)
    found, expected = drawn.run(by_triton(cell), "all"), drawn.run(reference, "all")
    torch.testing.assert_close(drawn.gradients(found), drawn.gradients(expected))


def test_what_triton_has_not() -> None:
    cell = Applied(tt.elementwise("arc", torch.atan, lambda a: 1 / (1 + a * a), r"\arctan"))
    with pytest.raises(ValueError, match=r"of the function 'arc' the value: it calls aten\.atan\.default"):
        source_of(cell)


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
@pytest.mark.parametrize("cell", [GRU(), SRU(), MinGRU()], ids=repr)
def test_compiled_for_a_gpu(cell: Cell, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_INTERPRET", "0")
    set_interpreter(False)
    made = Kernel(cell)
    known = {"reverse": True, "keeping": True, "SAMPLES": SAMPLES, "UNITS": 16}
    for way in ("forward", "backward"):
        function = getattr(made._module, way)
        types = {"lengths": "*i64", "resets": "*i1", "steps": "i32", "batch": "i32", "units": "i32"}
        types |= dict.fromkeys(known, "constexpr")
        signature = {name: types.get(name, f"*{precision}") for name in function.arg_names}
        constants = {name: value for name, value in known.items() if name in signature}
        source = ASTSource(function, signature, constants)
        found = compile(source, target=GPUTarget("cuda", 80, 32), options=OPTIONS)
        assert "bar.sync" in found.asm["ptx"]
        assert found.asm["cubin"]


@pytest.mark.usefixtures("interpreted")
def test_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = tt.MGU(2, 3, bidirectional=True).double()
    inputs, lengths = torch.randn(4, 2, 2, dtype=torch.float64), torch.tensor([4, 2])
    found = []
    for backend in ("reference", "fused"):
        if backend == "fused":
            monkeypatch.setattr(sys.modules[executor.__module__], "_device", lambda sequence: "cuda")
        layer.backend = backend
        outputs, last = layer(inputs, lengths=lengths)
        found.append((outputs, last, *torch.autograd.grad(outputs.sin().sum(), list(layer.parameters()))))
        assert layer.backend == backend
    on_gpu.kernel.cache_clear()
    torch.testing.assert_close(*found)
