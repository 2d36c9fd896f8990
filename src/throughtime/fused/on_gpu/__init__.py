"""Kernels for a GPU, in Triton. Only `elementary`, `product` and what is generated import it."""

from throughtime.fused.on_gpu.kernel import Kernel as Kernel
from throughtime.fused.on_gpu.kernel import kernel as kernel
from throughtime.fused.on_gpu.kernel import missing as missing
from throughtime.fused.on_gpu.kernel import source_of as source_of
