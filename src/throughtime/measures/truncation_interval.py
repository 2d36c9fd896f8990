"""How well the truncation error is known from so many samples."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.measures.bootstrap import Bootstrap
from throughtime.measures.sample_sums import SampleGram


def truncation_interval(
    gram: SampleGram, windows: Int[Tensor, " window"], error: Float[Tensor, " window"], seed: int
) -> Float[Tensor, "window 2"]:
    """The 95 % interval of the relative error of a truncated gradient, over samples; NaN with a single sample.

    A bootstrap draw weights the samples, and with them what is left out and what there is:
    error(K)^2 = |sum over b of w_b sum over |t - i| >= K of g|^2 / |sum over b of w_b g|^2. It is drawn at the windows
    that begin a band; between them, the distance of the bounds from the error is interpolated, both in logarithms. It
    covers what many more samples would give, of the losses that were followed.

    Args:
        gram: The scalar products of the samples' gradients.
        windows: K.
        error: The error itself, of all samples.
        seed: Of the draws.
    """
    batch = gram.products.shape[1]
    if batch == 1 or len(gram.starts) < 2:
        return torch.full((len(windows), 2), torch.nan, dtype=torch.float64)
    scale = (gram.ln_scale - gram.ln_scale.max()).exp()
    products = gram.products * scale[:, None, None, None] * scale[:, None]
    # What a window leaves out: the products of all bands from its own on.
    left_out = products.flip(0, 2).cumsum(0).cumsum(2).flip(0, 2)
    corners = torch.stack([left_out[band, :, band] for band in range(len(scale))])
    weights = Bootstrap.drawn(batch, 1, 1.0, seed).samples
    squares = torch.einsum("db,kbc,dc->kd", weights, corners, weights).clamp(min=0)
    ln_draws = (squares[1:] / squares[0]).log() / 2
    ln_error = (corners[1:].sum((1, 2)).clamp(min=0) / corners[0].sum()).log() / 2
    bounds = Bootstrap.interval(ln_draws, ln_error, torch.full_like(ln_error, batch - 1))
    relative = _between(gram.starts[1:].double().log(), bounds - ln_error.unsqueeze(-1), windows.double().log())
    return error.unsqueeze(-1) * relative.nan_to_num(nan=0.0).exp()


def _between(
    x: Float[Tensor, " given"], values: Float[Tensor, "given 2"], at: Float[Tensor, " asked"]
) -> Float[Tensor, "asked 2"]:
    """Linear interpolation; beyond the ends, the value there."""
    right = torch.searchsorted(x, at).clamp(1, max(len(x) - 1, 1)).clamp(max=len(x) - 1)
    left = (right - 1).clamp(min=0)
    width = torch.where(right > left, x[right] - x[left], 1.0)
    part = ((at - x[left]) / width).clamp(0, 1).unsqueeze(-1)
    return torch.lerp(values[left], values[right], part)
