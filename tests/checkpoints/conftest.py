"""A layer of a checkpoint, run."""

import pytest
import torch

from throughtime.unroll import Weights, unroll


@pytest.fixture
def output():
    """output(layer, inputs): what a layer gives, (time, batch, features of all its directions)."""

    def output(layer, inputs):
        parts = []
        for weights, reverse in ((layer.forward, False), (layer.reverse, True)):
            if weights is not None:
                cell, read = layer.cell("tanh"), inputs.flip(0) if reverse else inputs
                initial = {"c": torch.zeros(inputs.shape[1], layer.hidden_size)} if cell.carried == "c" else {}
                initial = {"h": torch.zeros(inputs.shape[1], layer.width), **initial}
                hidden = unroll(cell, Weights(**weights), read, initial).states["h"][1:]
                parts.append(hidden.flip(0) if reverse else hidden)
        return torch.cat(parts, -1)

    return output
