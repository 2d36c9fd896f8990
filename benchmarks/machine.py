"""What the machine can do at best: products of matrices and the passage of numbers through memory."""

import platform
from collections.abc import Callable

import torch

# Where what is measured lies: the CPU, or what `use` has said.
DEVICE = torch.device("cpu")

# Numbers of a float32 tensor that no cache holds: 256 MiB.
BEYOND_CACHES = 2**26


def use(device: str) -> None:
    """Measure on a device from now on; products are of float32 numbers there, too, and not of TF32's."""
    global DEVICE
    DEVICE = torch.device(device)
    torch.backends.cudnn.allow_tf32 = False


def wait() -> None:
    """Until the device has done all that it was given."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def named() -> str:
    """The machine and what it computes with."""
    if DEVICE.type == "cuda":
        return f"torch {torch.__version__}, {torch.cuda.get_device_name()}"
    return f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}"


def square_product(size: int = 2048) -> Callable[[], torch.Tensor]:
    """A product of two square float32 matrices, 2 size^3 operations: the rate that sgemm is known by."""
    with DEVICE:
        left, right = torch.randn(size, size), torch.randn(size, size)
    return lambda: left @ right


def batched_product(batch: int, sources: int, hidden: int) -> Callable[[], torch.Tensor]:
    """The product that a sweep needs at one step, (B, sources, H) @ (B, H, H): 2 B sources H^2 operations."""
    with DEVICE:
        left, right, out = (torch.randn(batch, rows, hidden) for rows in (sources, hidden, sources))
    return lambda: torch.bmm(left, right, out=out)


def copy() -> Callable[[], torch.Tensor]:
    """One float32 tensor copied to another: 8 bytes a number pass through memory."""
    with DEVICE:
        source, target = torch.zeros(BEYOND_CACHES), torch.zeros(BEYOND_CACHES)
    return lambda: target.copy_(source)
