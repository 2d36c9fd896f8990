"""What is shown of a kernel is what runs."""

import ast
import io

import pytest
import torch

import throughtime as tt
from throughtime.cells import GRU
from throughtime.fused import on_gpu
from throughtime.fused.kernel import PRECISIONS, source_of


class Leak(tt.Cell):
    gates = ("write", "candidate")

    def step(self, x, u, h):
        write = tt.sigmoid(x.write + u.write)
        return tt.Update(keep=1 - write, write=write, candidate=tt.tanh(x.candidate + u.candidate))


def test_a_cell_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    tt.show_kernel(Leak)
    shown = capsys.readouterr().out
    assert shown.startswith('"""The kernel of Leak() in single precision.')
    assert "sigmoid_write = sigmoid(u_write)" in shown
    assert "after = before*(real(1) - sigmoid_write) + sigmoid_write*tanh_candidate" in shown
    functions = [node.name for node in ast.parse(shown).body if isinstance(node, ast.FunctionDef)]
    assert functions == ["forward_of", "forward", "backward_of", "backward"]


@pytest.mark.parametrize("cell", [GRU, GRU(), tt.GRU(2, 3)], ids=["class", "cell", "layer"])
def test_it_is_the_source_that_runs(cell: object) -> None:
    file = io.StringIO()
    tt.show_kernel(cell, torch.float64, file)
    assert file.getvalue() == source_of(GRU()).text(PRECISIONS[torch.float64])


def test_for_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    tt.show_kernel(Leak, device="cuda")
    shown = capsys.readouterr().out
    assert shown == on_gpu.source_of(Leak()).text
    assert shown.startswith('"""The kernel of Leak() for a GPU.')
    assert "after = before*(1.0 - sigmoid_write) + sigmoid_write*tanh_candidate" in shown
    assert max(map(len, shown.splitlines())) <= 120
    ast.parse(shown)


def test_in_a_terminal_it_is_in_colours(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    tt.show_kernel(GRU)
    assert "\x1b[" in capsys.readouterr().out


def test_what_is_no_cell() -> None:
    with pytest.raises(TypeError, match=r"cell: expected a throughtime\.Cell, .* found 3"):
        tt.show_kernel(3)


def test_a_device_that_has_none() -> None:
    with pytest.raises(ValueError, match="device: there are kernels for 'cpu' and 'cuda', found 'mps'"):
        tt.show_kernel(GRU, device="mps")


def test_a_precision_that_there_is_not() -> None:
    with pytest.raises(ValueError, match=r"dtype: kernels compute in .*float32 and .*float64, found torch.int8"):
        tt.show_kernel(GRU, torch.int8)
