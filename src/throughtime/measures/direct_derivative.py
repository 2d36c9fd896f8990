"""The direct derivative: what a loss sends into the recurrence, before any step is taken back in time."""

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.measures.film import Film


def direct_derivative(
    film: Film, gradient_map: Float[Tensor, "state source state_step"]
) -> Float[Tensor, "state source"]:
    """ln sqrt(mean over the batch of |dl_t/ds_i|^2) at the last state s_i that loss t reads, in nats.

    Along dl_t/dy_t dy_t/ds_t only: the loss reads no later state, so that nothing of it came through the recurrence. It
    is what a gradient hook on the layer's output shows, and says what the readout lets through, not what the recurrence
    does. Of an LSTM's c, what c_t does to h_t counts, as everywhere. -inf where the loss reads nothing.

    Args:
        film: The axes of the map.
        gradient_map: The total derivatives, which at that state are the direct ones.
    """
    by_step = film.in_sequence(gradient_map)
    arrives = (by_step > -torch.inf).any(dim=0)
    # The first from behind; the map may be too large for a copy of it in wider numbers.
    last = arrives.shape[-1] - 1 - arrives.flip(-1).to(torch.uint8).argmax(dim=-1)
    return by_step.gather(-1, last.expand(len(by_step), -1).unsqueeze(-1)).squeeze(-1)
