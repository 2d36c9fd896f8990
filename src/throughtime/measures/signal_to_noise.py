"""Signal to noise by distance: whether the gradient that comes from there points the same way in every sample."""

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.measures.octaves import SampleGram


def signal_to_noise(gram: SampleGram) -> Float[Tensor, " band"]:
    """|mu|^2 / tr Sigma of what one sample adds to the gradient at a distance; inf where all samples add the same.

    With g_b the sum of sample b's weight terms at a distance, mu and Sigma are the mean and the covariance of g_b over
    samples: the inverse of the gradient noise scale of McCandlish et al. 2018 (arXiv:1812.06162, eq. 2.9), taken of
    every distance by itself. A batch of 1 / (signal to noise) samples has as much signal as noise in its gradient.
    Where it is near 0 something arrives, but not the same thing in every sample, and it averages out: large, but of no
    use.

    Both parts are unbiased however few samples there are, see `signal_and_noise`, so that a distance without signal
    scatters around 0, down to -1 / B. NaN with a single sample, or where nothing arrives.
    """
    signal, noise = signal_and_noise(gram)
    # Less than this cannot be told from the rounding of the sums.
    return signal / torch.where(noise > gram.resolution * (signal + noise), noise, 0.0)


def signal_and_noise(gram: SampleGram) -> tuple[Float[Tensor, " band"], Float[Tensor, " band"]]:
    """|mu|^2 and tr Sigma, each on the squared scale of its band, without bias.

    As in appendix A.1 of the paper with batches of 1 and B: |mu|^2 is the mean product of different samples, tr Sigma
    what the mean square has more than that.
    """
    batch = gram.batch
    squares = gram.own.diagonal(dim1=1, dim2=2).sum(-1)
    others = gram.own.sum((1, 2)) - squares
    signal = others / (batch * (batch - 1)) if batch > 1 else torch.full_like(others, torch.nan)
    return signal, squares / batch - signal
