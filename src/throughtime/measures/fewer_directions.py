"""Few directions in place of many features."""

import torch
from jaxtyping import Float
from torch import Tensor


def fewer_directions(columns: Float[Tensor, "*rest feature"], at_most: int) -> Float[Tensor, "feature direction"]:
    """Random directions at right angles, on the scale that keeps the mean of every scalar product.

    The identity where there are no more features than that.
    """
    features = columns.shape[-1]
    if features <= at_most:
        return torch.eye(features).to(columns)
    drawn = torch.randn(features, at_most, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (torch.linalg.qr(drawn)[0] * (features / at_most) ** 0.5).to(columns)
