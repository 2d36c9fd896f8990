"""What stands in for a loss where there is none: at every step, a random direction of the hidden state.

The layers stand side by side in one module, each on what reaches it and cut off from the others, so that each is
followed by itself. The source at step t is v_t . h_t, with v_t a random direction of unit length for every layer,
direction of reading, step and sample; its adjoint at s_i is v_t^T dh_t/ds_i, whose norm is 1 at h_t and tells from
there on what the states alone do to a gradient.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from throughtime.checkpoints.layers import Layer


class Probe(nn.Module):
    """Every layer of a checkpoint on the sequence that reaches it.

    Args:
        layers: The layers.
        nonlinearity: Of an RNN, where the file does not say.
        dtype: Of the weights.
    """

    def __init__(self, layers: Sequence[Layer], nonlinearity: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = layers
        self.recurrences = nn.ModuleList(layer.rebuilt(nonlinearity, dtype) for layer in layers)

    def forward(self, sequences: Mapping[str, Tensor]) -> list[Tensor]:
        """By layer, its output (time, batch, features of all directions).

        Args:
            sequences: By name of a layer, what it reads from outside, (time, batch, features).
        """
        outputs: dict[str, Tensor] = {}
        for layer, recurrence in zip(self.layers, self.recurrences, strict=True):
            # Cut, so that what is followed in one layer does not reach another.
            read = sequences[layer.name] if layer.reads is None else outputs[layer.reads].detach()
            outputs[layer.name] = recurrence(read)[0]
        return list(outputs.values())

    @property
    def names(self) -> dict[str, str]:
        """The names of the recurrences in this module, with those of the layers and directions that are asked for."""
        return {
            f"recurrences.{index}.l0{'.reverse' * name.endswith('.reverse')}": name
            for index, layer in enumerate(self.layers)
            for name in layer.directions
        }

    def directions(self, steps: int, samples: int, seed: int) -> list[Tensor]:
        """By layer, v of shape (time, batch, features of all directions), of unit length for each of them.

        Zero for the direction that a layer lacks.
        """
        generator = torch.Generator().manual_seed(seed)
        drawn = []
        for layer, recurrence in zip(self.layers, self.recurrences, strict=True):
            dtype = next(recurrence.parameters()).dtype
            halves = []
            for weights in (layer.forward, layer.reverse):
                normal = torch.randn(steps, samples, layer.width, generator=generator, dtype=torch.float64)
                unit = nn.functional.normalize(normal, dim=-1).to(dtype)
                halves.append(unit if weights is not None else torch.zeros_like(unit))
            drawn.append(torch.cat(halves[: 1 + int(layer.reverse is not None)], dim=-1))
        return drawn


def along(outputs: Sequence[Tensor], directions: Sequence[Tensor]) -> Tensor:
    """One source per step: v_t . h_t, summed over the batch and over the layers."""
    parts = [(output * direction).sum((1, 2)) for output, direction in zip(outputs, directions, strict=True)]
    return torch.stack(parts).sum(0)
