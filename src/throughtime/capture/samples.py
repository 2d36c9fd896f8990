"""Along which axis of a loop's states its samples lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

# Units that are dead at one step are not at all of them.
STEPS_TRIED = 8


def sample_axes(visited: Mapping[str, Sequence[Tensor | None]], samples: int | None) -> dict[str, int | None]:
    """The axis of the samples by state; None throughout where the states have none in common.

    It is the first axis, the second of a state like torch's (layers, batch, hidden), none of a vector: unless something
    passes along it from one step to the next, and nothing along another one, as where samples are columns, W @ h.

    Args:
        visited: By state, s_0 .. s_T as the user's graph made them; None where a state was not seen.
        samples: How many samples the inputs have, where they tell.
    """
    seen = {state: next(value for value in values if value is not None) for state, values in visited.items()}
    mixed = _Mixed(visited)
    axes: dict[str, int | None] = {}
    for state, value in seen.items():
        usual = _usual_axis(value, samples)
        if usual is not None and mixed.along(usual, value.shape[usual]):
            others = [axis for axis in range(value.dim()) if not mixed.along(axis, value.shape[axis])]
            usual = next(iter(others), usual)
        axes[state] = usual
    sizes: set[int | None] = {seen[state].shape[axis] for state, axis in axes.items() if axis is not None}
    # A number per sample, beside states that have more of them or where the inputs tell.
    axes |= {state: 0 for state, value in seen.items() if value.dim() == 1 and (sizes or {samples}) == {len(value)}}
    batches = {1 if axis is None else seen[state].shape[axis] for state, axis in axes.items()}
    # States that differ in their number of samples are taken as one sample each.
    return axes if len(batches) == 1 else dict.fromkeys(axes)


def _usual_axis(state: Tensor, samples: int | None) -> int | None:
    if state.dim() <= 1:
        return None
    first, second = state.shape[:2]
    layers_first = first == 1 if samples is None else second == samples != first
    return 1 if state.dim() == 3 and layers_first else 0


class _Mixed:
    """What passes along the axes of states from one step to the next.

    Args:
        visited: As of `sample_axes`.
    """

    def __init__(self, visited: Mapping[str, Sequence[Tensor | None]]) -> None:
        steps = [[value for value in step if value is not None] for step in zip(*visited.values(), strict=True)]
        alike = [
            (before, after)
            for before, after in pairwise(steps)
            if [one.shape for one in before] == [one.shape for one in after]
        ]
        self._steps = alike[:: max(1, len(alike) // STEPS_TRIED)]

    def along(self, axis: int, size: int) -> bool:
        """Whether in any of some steps a slice depends on another one before, along an axis of so many slices."""
        for before, after in self._steps:
            given, made = (
                [one for one in states if one.dim() > axis and one.shape[axis] == size and one.requires_grad]
                for states in (before, after)
            )
            if size > 1 and given and made and any(_passes(given, made, axis, looked_at) for looked_at in (0, 1)):
                return True
        return False


def _passes(given: Sequence[Tensor], made: Sequence[Tensor], axis: int, looked_at: int) -> bool:
    """Whether slices of an odd number, or of an even one, depend on any of the others."""
    with torch.enable_grad():
        slices = [_real(one.movedim(axis, 0)[looked_at::2]).flatten() for one in made]
        # Not all ones: what is normalised to a constant sum would have no derivative.
        weights = [torch.linspace(1, 2, len(one), dtype=one.dtype, device=one.device) for one in slices]
        found = torch.autograd.grad(slices, given, weights, retain_graph=True, allow_unused=True)
    return any(one is not None and bool(one.movedim(axis, 0)[1 - looked_at :: 2].any()) for one in found)


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
