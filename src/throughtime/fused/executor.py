"""Which executor runs a recurrence. It is decided here and nowhere else."""

from typing import Literal

from torch import Tensor

from throughtime.cells import Cell

BACKENDS = ("auto", "reference", "fused")


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

    Returns:
        "reference" and "fused" are run by `run`, "torch" by `torchs_own`.

    Raises:
        ValueError: `backend` is unknown, or "fused" where this cannot be fused; the message says why.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend: expected one of {BACKENDS}, found {backend!r}")
    if backend == "fused":
        raise ValueError(f"backend: {cell!r} cannot be fused; use backend='auto' or 'reference'")
    return "reference"
