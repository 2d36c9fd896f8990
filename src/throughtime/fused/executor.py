"""Which executor runs a recurrence. It is decided here and nowhere else."""

from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from throughtime.cells import LSTM, Cell
from throughtime.fused.kernel import PRECISIONS, source_of
from throughtime.fused.lines import NotFused

BACKENDS = ("auto", "reference", "fused")
# Numbers in a sequence of pre-activations, all steps, samples, gates and units. Of so few the reference takes some
# milliseconds a call, and it would take hundreds of calls to win back the seconds of compiling.
WORTH_COMPILING = 2**13


def executor(
    cell: Cell, sequence: Tensor, backend: str = "auto", plain: bool = False
) -> Literal["reference", "fused", "torch"]:
    """Which executor is to run a recurrence.

    Args:
        cell: The equations.
        sequence: What is read, or its product with the weights, (time, batch, features): its device, its dtype and
            the way it is traced count.
        backend: "auto" for the fastest one that can; "reference" for the equations under autograd; "fused" for the
            compiled kernel, which is never replaced silently.
        plain: Whether torch's own layer would do: no lengths, no resets, and nothing but h_1 .. h_T and the last
            states is asked for. Only then is the answer ever "torch", and only with "auto".

    With "auto", an LSTM in float32 is torch's own where that is enough: oneDNN has a kernel for it, which is faster
    than ours. For all else there is on a CPU, torch's GRU and RNN included, ours is (see `benchmarks/layers.py`).

    Returns:
        "reference" and "fused" are run by `run`, "torch" by `torchs_own`.

    Raises:
        ValueError: `backend` is unknown, or "fused" where this cannot be fused; the message says why.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {BACKENDS}, found {backend!r}")
    if backend == "fused":
        obstacle = _obstacle(sequence) or _obstacle_in(cell)
        if obstacle is not None:
            raise ValueError(f"backend: {cell!r} cannot be fused: {obstacle}; use backend='auto' or 'reference'")
        return "fused"
    if backend == "reference" or _obstacle(sequence) is not None:
        return "reference"
    if plain and type(cell) is LSTM and sequence.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return "torch"
    return "fused" if sequence.numel() >= WORTH_COMPILING and _obstacle_in(cell) is None else "reference"


def _obstacle(sequence: Tensor) -> str | None:
    """What keeps a kernel from reading a sequence."""
    if sequence.device.type != "cpu":
        return f"kernels run on the CPU, and this is on {sequence.device}"
    if sequence.dtype not in PRECISIONS:
        return f"kernels compute in float32 and float64, and this is {sequence.dtype}"
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or type(sequence) not in (Tensor, nn.Parameter):
        return "a kernel is no operation that can be traced or compiled"
    if torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0:
        return "a kernel has no rule for torch.func's transformations and for derivatives forward"
    return None


@cache
def _obstacle_in(cell: Cell) -> str | None:
    """What keeps a cell from being a kernel."""
    try:
        source_of(cell)
    except NotFused as obstacle:
        return str(obstacle)
    return None
