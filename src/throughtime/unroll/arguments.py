"""What a layer is called with, checked at the door: what was found, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from throughtime.unroll.sequences import Layout


def check_input(input: Tensor | PackedSequence, features: int, weight: Tensor) -> None:
    """A sequence must have steps, the right features, and the weights' dtype and device; it may have no samples.

    Raises:
        TypeError: It is no tensor and no packed sequence.
        ValueError: It does not fit.
    """
    if not isinstance(input, Tensor | PackedSequence):
        raise TypeError(f"input: expected a tensor or a PackedSequence, found {type(input).__name__}")
    packed = isinstance(input, PackedSequence)
    tensor = input if isinstance(input, Tensor) else input.data
    shape = tuple(tensor.shape)
    if len(shape) not in ((2,) if packed else (2, 3)) or shape[-1] != features:
        batched = f"(time, batch, {features}), or (batch, time, {features}) with batch_first, or (time, {features})"
        expected = f"packed data (steps, {features})" if packed else batched
        raise ValueError(f"input: expected {expected}, found {shape}")
    _check_like("input", tensor, weight)


def check_steps(sequence: Tensor) -> None:
    """A sequence (time, batch, features) must have steps; without samples it is empty, as torch has it.

    Raises:
        ValueError: It has none.
    """
    if not len(sequence):
        raise ValueError(
            f"input: expected at least one step, found shape (time, batch, features) of {tuple(sequence.shape)}"
        )


def initial_states(
    hx: Any, sizes: Mapping[str, int], recurrences: int, sequence: Tensor, layout: Layout
) -> dict[str, Tensor]:
    """By state name, (layers * directions, batch, size); zeros where none are given.

    Args:
        hx: What the caller gave: one tensor, or a tuple or list with one per state.
        sizes: Features of every state, in the order of `hx`.
        recurrences: Layers times directions.
        sequence: The input, (time, batch, features).
        layout: Of the input.

    Raises:
        ValueError: Number, shape, dtype or device of the states do not fit.
    """
    shapes = {name: (recurrences, sequence.shape[1], size) for name, size in sizes.items()}
    if hx is None:
        return {name: sequence.new_zeros(shape) for name, shape in shapes.items()}
    given = tuple(hx) if isinstance(hx, tuple | list) else (hx,)
    if len(given) != len(shapes):
        raise ValueError(f"hx: expected {len(shapes)} state(s) {tuple(shapes)}, found {len(given)}")
    states = dict(zip(shapes, given, strict=True))
    for name, state in states.items():
        expected = shapes[name] if layout.batched else shapes[name][::2]
        if state.shape != expected:
            raise ValueError(f"hx: expected shape {expected} for {name}, found {tuple(state.shape)}")
        _check_like("hx", state, sequence)
    return {name: layout.state_in(state) for name, state in states.items()}


def lengths_of(
    lengths: Sequence[int] | Tensor | None, input: Tensor | PackedSequence, batch_first: bool
) -> Int[Tensor, " batch"] | None:
    """The lengths of the samples of a padded batch, on its device.

    Raises:
        ValueError: There is no padded batch, or a length is not between 1 and the steps there are.
    """
    if lengths is None:
        return None
    if isinstance(input, PackedSequence):
        raise ValueError("lengths: a packed sequence has lengths of its own; leave them out, or give the padded tensor")
    if input.dim() != 3:
        raise ValueError(f"lengths: expected a batch of sequences, found an input of shape {tuple(input.shape)}")
    # Of none, torch does not know what numbers they are.
    dtype = None if isinstance(lengths, Tensor) or len(lengths) else torch.long
    found = torch.as_tensor(lengths, dtype=dtype, device=input.device)
    steps, batch = (input.shape[1], input.shape[0]) if batch_first else (input.shape[0], input.shape[1])
    if found.shape != (batch,) or found.is_floating_point() or found.dtype == torch.bool:
        raise ValueError(
            f"lengths: expected {batch} whole numbers, one per sample, found {found.dtype} of shape "
            f"{tuple(found.shape)}"
        )
    # What depends on values cannot be asked while a graph is made of all values at once.
    if not torch.compiler.is_compiling() and ((found < 1) | (found > steps)).any():
        raise ValueError(f"lengths: expected between 1 and the {steps} steps there are, found {found.tolist()}")
    return found.long()


def resets_of(reset_mask: Tensor | None, sequence: Tensor, layout: Layout) -> Bool[Tensor, "time batch"] | None:
    """Where new sequences begin, (time, batch).

    Raises:
        ValueError: It is not boolean, or not of one number for each step and sample.
    """
    if reset_mask is None:
        return None
    expected = tuple(sequence.shape[:2])
    if not layout.batched:
        expected = expected[:1]
    elif layout.batch_first:
        expected = expected[::-1]
    if reset_mask.dtype != torch.bool or reset_mask.shape != expected:
        raise ValueError(
            f"reset_mask: expected torch.bool of shape {expected}, true where a sequence begins, found "
            f"{reset_mask.dtype} of shape {tuple(reset_mask.shape)}"
        )
    return layout.time_first(reset_mask)


def _check_like(argument: str, tensor: Tensor, other: Tensor) -> None:
    if tensor.device != other.device:
        raise ValueError(
            f"{argument}: it is on {tensor.device}, the layer works on {other.device}; move one of them with .to(...)"
        )
    # Autocast brings different dtypes together.
    if tensor.dtype != other.dtype and not torch.is_autocast_enabled(tensor.device.type):
        raise ValueError(
            f"{argument}: it is {tensor.dtype}, the layer works in {other.dtype}; convert one with .to(...)"
        )
