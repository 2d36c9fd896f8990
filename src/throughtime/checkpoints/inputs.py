"""What the layers of a checkpoint are run on: given data, or inputs drawn to match."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from throughtime.capture import ExaminationError
from throughtime.checkpoints.layers import Checkpoint, Layer

SHAPES = "(steps, features) or (steps, samples, features)"


@dataclass(frozen=True)
class Inputs:
    """The sequences that are read by the layers whose inputs come from outside.

    Args:
        sequences: By name of the layer, (time, batch, features).
        notes: What each of them is.
    """

    sequences: dict[str, Tensor]
    notes: tuple[str, ...]


def drawn_inputs(checkpoint: Checkpoint, steps: int, samples: int, seed: int, dtype: torch.dtype) -> Inputs:
    """Random rows of an embedding of the checkpoint as wide as a layer's input, else standard normal numbers."""
    generator = torch.Generator().manual_seed(seed)
    sequences, origins = {}, {}
    for layer in _first(checkpoint):
        sequences[layer.name], origins[layer.name] = _drawn(checkpoint, layer, (steps, samples), generator, dtype)
    return Inputs(sequences, _notes(origins))


def given_inputs(checkpoint: Checkpoint, values: np.ndarray, name: str, seed: int, dtype: torch.dtype) -> Inputs:
    """Given data for every layer that it fits; for the others, inputs of as many steps and samples are drawn.

    Args:
        checkpoint: What was found.
        values: Whole numbers (steps) or (steps, samples) that are rows of an embedding of the checkpoint as wide as the
            layer's input; otherwise (steps, features), (steps, samples, features), or (steps) alone, one feature to a
            layer that reads one.
        name: What a message calls the data.
        seed: Of what is drawn.
        dtype: Of the inputs.

    Raises:
        ExaminationError: It fits no layer.
    """
    generator = torch.Generator().manual_seed(seed)
    layers = _first(checkpoint)
    fitted = {layer.name: _fitted(checkpoint, layer, values, name, dtype) for layer in layers}
    found = {layer: fit for layer, fit in fitted.items() if fit is not None}
    if not found:
        raise ExaminationError(_does_not_fit(checkpoint, layers, values, name))
    size = next(iter(found.values()))[0].shape[:2]
    for layer in layers:
        if layer.name not in found:
            found[layer.name] = _drawn(checkpoint, layer, (size[0], size[1]), generator, dtype)
    sequences = {layer.name: found[layer.name][0] for layer in layers}
    return Inputs(sequences, _notes({layer.name: found[layer.name][1] for layer in layers}))


def embedding_of(checkpoint: Checkpoint, layer: Layer) -> tuple[str, Tensor] | None:
    """The embedding that may stand before a layer: as wide as its input; of several, that with the nearest name."""
    fitting = [(name, table) for name, table in checkpoint.embeddings.items() if table.shape[1] == layer.input_size]
    return max(fitting, key=lambda one: _shared(one[0], layer.name), default=None)


def _first(checkpoint: Checkpoint) -> list[Layer]:
    return [layer for layer in checkpoint.layers if layer.reads is None]


def _shared(one: str, other: str) -> int:
    """How many parts two names share from the left."""
    pairs = zip(one.split("."), other.split("."), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _drawn(
    checkpoint: Checkpoint, layer: Layer, size: tuple[int, int], generator: torch.Generator, dtype: torch.dtype
) -> tuple[Tensor, str]:
    embedding = embedding_of(checkpoint, layer)
    if embedding is None:
        drawn = torch.randn(*size, layer.input_size, generator=generator, dtype=dtype)
        return drawn, "numbers drawn from a standard normal distribution"
    name, table = embedding
    rows = torch.randint(len(table), size, generator=generator)
    return table[rows].to(dtype), f"rows of its embedding {name}, drawn at random"


def _fitted(
    checkpoint: Checkpoint, layer: Layer, values: np.ndarray, name: str, dtype: torch.dtype
) -> tuple[Tensor, str] | None:
    """The data as what a layer reads, (time, batch, features), and what it is; None where it does not fit."""
    whole = np.issubdtype(values.dtype, np.integer)
    embedding = embedding_of(checkpoint, layer)
    # First, since as many samples as features are no features.
    if embedding is not None and whole and values.ndim < 3 and 0 <= values.min() <= values.max() < len(embedding[1]):
        rows = torch.as_tensor(values).long()
        sequence = embedding[1][rows if rows.dim() == 2 else rows.unsqueeze(1)].to(dtype)
        return sequence, f"{name}, as rows of its embedding {embedding[0]}"
    if values.ndim > 1 and values.shape[-1] == layer.input_size:
        sequence = torch.as_tensor(values).to(dtype)
        return sequence if sequence.dim() == 3 else sequence.unsqueeze(1), name
    if values.ndim == 1 and layer.input_size == 1:
        return torch.as_tensor(values).to(dtype)[:, None, None], name
    return None


def _notes(origins: dict[str, str]) -> tuple[str, ...]:
    by_origin: dict[str, list[str]] = {}
    for layer, origin in origins.items():
        by_origin.setdefault(origin, []).append(layer)
    return tuple(f"The input of {', '.join(layers)}: {origin}." for origin, layers in by_origin.items())


def _does_not_fit(checkpoint: Checkpoint, layers: Sequence[Layer], values: np.ndarray, name: str) -> str:
    sizes = " or ".join(
        f"{size} ({', '.join(layer.name for layer in layers if layer.input_size == size)})"
        for size in sorted({layer.input_size for layer in layers})
    )
    tables = {embedding[0]: len(embedding[1]) for layer in layers if (embedding := embedding_of(checkpoint, layer))}
    rows = " or ".join(f"0 to {count - 1} (rows of {table})" for table, count in tables.items())
    tokens = f", or whole numbers from {rows} in shape (steps) or (steps, samples)" if rows else ""
    found = f"{values.shape[-1]} features in " if values.ndim > 1 else ""
    integers = np.issubdtype(values.dtype, np.integer)
    numbers = f", whole numbers from {values.min()} to {values.max()}" if integers and tables else ""
    return f"{name}: found {found}shape {values.shape}{numbers}; expected {sizes} features, {SHAPES}{tokens}"
