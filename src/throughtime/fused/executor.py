"""Which executor runs a recurrence. It is decided here and nowhere else."""

from functools import cache
from typing import Literal

import numba
import torch
from torch import Tensor, nn

from throughtime.cells import LSTM, Cell, Named, is_torchs
from throughtime.fused import on_gpu
from throughtime.fused.kernel import PRECISIONS, Kernel, kernel, source_of
from throughtime.fused.languages import NotFused

BACKENDS = ("auto", "reference", "fused")
# Numbers in a sequence of pre-activations, all steps, samples, gates and units. Of so few the reference takes some
# milliseconds a call, and it would take hundreds of calls to win back the seconds of compiling.
WORTH_COMPILING = 2**13
# Bytes of recurrent weights that a core's own cache holds, besides what else is read at a step.
CACHED = 2**20


def executor(
    cell: Cell,
    sequence: Tensor,
    backend: str = "auto",
    plain: bool = False,
    weights: Named | None = None,
    initial: Named | None = None,
) -> Literal["reference", "fused", "torch"]:
    """Which executor is to run a recurrence.

    Args:
        cell: The equations.
        sequence: What is read, (time, batch, features): its device, its dtype and the way it is traced count.
        backend: "auto" for the fastest one that can; "reference" for the equations under autograd; "fused" for the
            compiled kernel, Numba's on the CPU and Triton's on CUDA, which is never replaced silently.
        plain: Whether torch's own layer would do: no lengths, no resets, and nothing but h_1 .. h_T and the last
            states is asked for. Only then is the answer ever "torch", and only with "auto".
        weights: By torch's name without a suffix: their sizes count. None for as many rows as features, and few.
        initial: The states before the first step, by name; None where they are known to fit.

    With "auto", what torch has a layer for is torch's own where that is enough: on a GPU, where cuDNN runs it, and on a
    CPU an LSTM in float32 whose recurrent weights are too large for a core's cache, or whose sequence is too short to
    compile a kernel for: oneDNN runs it. For all else that there is on a CPU, torch's GRU and RNN included, ours is
    faster (`benchmarks/layers.py`); on a GPU it is taken where Triton is installed. That kernel has been checked in
    Triton's interpreter only, on no GPU.

    Returns:
        "reference" and "fused" are run by `run`, "torch" by `torchs_own`.

    Raises:
        ValueError: `backend` is unknown, or "fused" where this cannot be fused; the message says why.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {BACKENDS}, found {backend!r}")
    if backend == "fused":
        obstacle = _obstacle(sequence) or _traced(sequence) or _obstacle_in(cell, _device(sequence))
        obstacle = obstacle or _unfit(cell, sequence, weights or {}, initial or {})
        if obstacle is not None:
            raise ValueError(f"backend: {cell!r} cannot be fused: {obstacle}; use backend='auto' or 'reference'")
        return "fused"
    if backend == "reference" or _traced(sequence):
        return "reference"
    known = weights or {}
    able = _obstacle(sequence) is None and _obstacle_in(cell, _device(sequence)) is None
    able = able and _unfit(cell, sequence, known, initial or {}) is None
    rows = len(known["weight_ih"]) if "weight_ih" in known else sequence.shape[-1]
    worthwhile = able and rows * sequence.shape[0] * sequence.shape[1] >= WORTH_COMPILING
    if plain and _has_torch(cell, sequence):
        small = "weight_hh" in known and known["weight_hh"].nbytes <= CACHED
        return "fused" if worthwhile and small and _device(sequence) == "cpu" else "torch"
    return "fused" if worthwhile else "reference"


def kernel_for(cell: Cell, sequence: Tensor) -> Kernel | on_gpu.Kernel:
    """The kernel that runs a cell where a sequence is: Numba's on the CPU, Triton's on a GPU."""
    return on_gpu.kernel(cell) if _device(sequence) == "cuda" else kernel(cell, sequence.dtype)


def _has_torch(cell: Cell, sequence: Tensor) -> bool:
    """Whether torch runs a cell by a library made for it: cuDNN on a GPU, oneDNN on the CPU."""
    if _device(sequence) not in ("cpu", "cuda"):
        return False
    if torch.is_autocast_enabled(sequence.device.type):
        return False
    if _device(sequence) == "cuda":
        return is_torchs(cell)
    onednn = _device(sequence) == "cpu" and torch.backends.mkldnn.is_available()
    return onednn and type(cell) is LSTM and sequence.dtype == torch.float32


def _obstacle(sequence: Tensor) -> str | None:
    """What keeps a kernel from reading a sequence."""
    if _device(sequence) not in ("cpu", "cuda"):
        return f"kernels run on the CPU and on CUDA, and this is on {sequence.device}"
    if _device(sequence) == "cuda" and on_gpu.missing() is not None:
        return f"kernels on CUDA need {on_gpu.missing()}"
    if _device(sequence) == "cpu" and numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        return "Numba's compiler is switched off, by NUMBA_DISABLE_JIT"
    if sequence.dtype not in PRECISIONS:
        return f"kernels compute in float32 and float64, and this is {sequence.dtype}"
    if torch.is_autocast_enabled(_device(sequence)):
        return "kernels compute in the dtype that they are given, and autocast wants another one"
    return None


def _unfit(cell: Cell, sequence: Tensor, weights: Named, initial: Named) -> str | None:
    """What keeps a kernel from reading weights and states: it looks at nothing but where they begin."""
    if "weight_ih" not in weights:
        return None
    batch, features = sequence.shape[1:]
    units = initial[cell.carried].shape[-1] if initial else len(weights["weight_ih"]) // len(cell.gates)
    rows, entered = units * len(cell.gates), units * len(cell.entered)
    expected: dict[str, tuple[int, ...]] = {"weight_ih": (rows, features), "bias_ih": (rows,), "bias_hh": (entered,)}
    expected["weight_hh"] = (entered, units) if cell.enters == "dense" else (entered,)
    expected |= {f"weight_{name}": (units,) for name in cell.units}
    for name, tensor in (*weights.items(), *initial.items()):
        shape = expected.get(name, (batch, units))
        if (tensor.shape, tensor.dtype, tensor.device) != (shape, sequence.dtype, sequence.device):
            found = f"{tensor.dtype} of shape {tuple(tensor.shape)} on {tensor.device}"
            return f"{name} is {found}, expected {sequence.dtype} of shape {shape} on {sequence.device}"
        if type(tensor) not in (Tensor, nn.Parameter):
            return f"{name} is a {type(tensor).__name__}, which is more than its numbers"
    return None


def _traced(sequence: Tensor) -> str | None:
    """What is done to a sequence instead of, or besides, computing with it."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or type(sequence) not in (Tensor, nn.Parameter):
        return "a kernel is no operation that can be traced or compiled"
    if torch._C._len_torch_dispatch_stack():
        return "a kernel is no operation that a dispatch mode can see"
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        return "a kernel has no rule for torch.func's transformations and for derivatives forward"
    return None


@cache
def _obstacle_in(cell: Cell, device: str) -> str | None:
    """What keeps a cell from being a kernel on a type of device."""
    try:
        on_gpu.source_of(cell) if device == "cuda" else source_of(cell)
    except NotFused as obstacle:
        return str(obstacle)
    return None


def _device(sequence: Tensor) -> str:
    return sequence.device.type
