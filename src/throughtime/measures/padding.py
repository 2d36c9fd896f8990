"""Padding: which steps of a batch are filled up, and what part of the gradient arrives there and not at the data."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from throughtime.adjoint import Frame
from throughtime.measures.film import Film, Measure
from throughtime.unroll import Trajectory


def padding(trajectory: Trajectory) -> Bool[Tensor, "time batch"]:
    """The steps at which a sample reads on after its data has ended, in the order of reading.

    A batch is padded where its samples end in the same input, repeated for a number of steps that differs from sample
    to sample. One that ends alike in all samples, as a silence after a stimulus does, is data, and so is a sample that
    holds nothing else. Steps at which a sample rests, as packed sequences do after their end, are not read.
    """
    inputs = trajectory.inputs
    repeated = (inputs == inputs[-1]).all(-1).flip(0).cumprod(0).flip(0).bool()
    nothing_else = repeated.all(0)
    lengths = (repeated & ~nothing_else).sum(0)
    filling = inputs[-1, lengths.argmax()]
    ends = repeated & ~nothing_else & (inputs[-1] == filling).all(-1)
    lengths = ends.sum(0)
    if int(lengths.max()) < 2 or bool((lengths == lengths[0]).all()):
        return torch.zeros_like(ends)
    return ends if trajectory.running is None else ends & trajectory.running


class PaddingShare(Measure[Frame]):
    """The part of sum over t, i and samples of |dl_t/ds_i|^2, of the last state, that lies at steps i of padding.

    Args:
        film: The axes.
        padded: The steps of padding.
    """

    def __init__(self, film: Film, padded: Bool[Tensor, "time batch"]) -> None:
        self._state, self._padded = film.states[-1], padded
        # ln of the sums so far, at data and at padding.
        self._ln_sums = torch.full((2,), -torch.inf, dtype=torch.float64)

    def update(self, frame: Frame) -> None:
        """Add what arrives at one state; the initial one has read nothing, neither data nor padding."""
        if frame.step == 0:
            return
        ln_square, padded = frame.ln_square[self._state], self._padded[frame.step - 1]
        for index, there in enumerate((~padded, padded)):
            arrived = torch.logsumexp(ln_square[:, there].flatten(), dim=0).cpu()
            self._ln_sums[index] = torch.logaddexp(self._ln_sums[index], arrived)

    def result(self) -> Float[Tensor, ""]:
        """From 0 to 1; NaN where nothing arrives anywhere."""
        return torch.softmax(self._ln_sums, dim=0)[1]
