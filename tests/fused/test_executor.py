"""Which executor runs, and what is said where none can."""

import sys

import pytest
import torch

from throughtime.cells import GRU, LSTM, MGU, Cell
from throughtime.fused import executor, on_gpu

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
    with pytest.raises(ValueError, match="kernels run on the CPU and on CUDA, and this is on meta"):
        executor(GRU(), SEQUENCE.to("meta"), "fused")


def test_under_a_transformation() -> None:
    with pytest.raises(ValueError, match=r"no rule for torch\.func"):
        torch.func.vmap(lambda one: one * (executor(GRU(), one, "fused") == "fused"))(SEQUENCE)


@pytest.mark.parametrize(
    ("steps", "hidden", "plain", "expected"),
    [(200, 128, True, "fused"), (200, 512, True, "torch"), (200, 512, False, "fused"), (1, 128, True, "torch")],
)
def test_an_lstm_whose_weights_fit_a_cache(steps: int, hidden: int, plain: bool, expected: str) -> None:
    weights = {"weight_ih": torch.zeros(4 * hidden, 2), "weight_hh": torch.zeros(4 * hidden, hidden)}
    assert executor(LSTM(), torch.zeros(steps, 8, 2), "auto", plain, weights) == expected


def test_autocast_lowers_the_precision() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert executor(GRU(), torch.zeros(200, 8, 64), "auto") == "reference"
        with pytest.raises(ValueError, match=r"GRU\(\) cannot be fused: .* autocast wants another one"):
            executor(GRU(), SEQUENCE, "fused")


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[executor.__module__], "_device", lambda sequence: "cuda")


@pytest.mark.usefixtures("on_cuda")
@pytest.mark.parametrize(
    ("cell", "plain", "installed", "expected"),
    [
        (GRU(), True, True, "torch"),
        (GRU(), False, True, "fused"),
        (MGU(), True, True, "fused"),
        (GRU(), True, False, "torch"),
        (MGU(), True, False, "reference"),
    ],
)
def test_on_cuda(monkeypatch: pytest.MonkeyPatch, cell: Cell, plain: bool, installed: bool, expected: str) -> None:
    monkeypatch.setattr(on_gpu, "missing", lambda: None if installed else "Triton")
    assert executor(cell, torch.zeros(200, 8, 64), "auto", plain) == expected


@pytest.mark.usefixtures("on_cuda")
def test_on_cuda_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu.missing.cache_clear()
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"on CUDA need Triton 3\.5 or newer \(pip install 'throughtime\[triton\]'\)"):
        executor(MGU(), SEQUENCE, "fused")
    on_gpu.missing.cache_clear()
