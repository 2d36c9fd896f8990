"""What a measure is, and what all measures of one recurrence share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import Frame


@dataclass(frozen=True)
class Film:
    """The axes of the film of one recurrence.

    Args:
        states: Names of the states.
        steps: T.
        batch: Samples.
        loss_steps: The label t of every source.
        positions: In reading order, the step from which the lag of every source is counted: t itself, or T + 1 - t
            where the sequence is read in reverse.
        reverse: Whether the sequence is read from its end.
        max_lag: The largest lag that is followed; None for all.
        causal: Whether it is certain that no source reaches a state later than its own step.
        begins: The first state that is followed: 1 where the initial one was not seen.
        followed: The part of all losses that these sources are.
    """

    states: tuple[str, ...]
    steps: int
    batch: int
    loss_steps: Int[Tensor, " source"]
    positions: Int[Tensor, " source"]
    reverse: bool = False
    max_lag: int | None = None
    causal: bool = False
    begins: int = 0
    followed: float = 1.0

    @property
    def sources(self) -> int:
        """How many sources there are."""
        return len(self.loss_steps)

    @property
    def state_steps(self) -> Int[Tensor, " state_step"]:
        """The labels of the states in increasing order: 0..T, or 1..T + 1 where the sequence is read in reverse."""
        return torch.arange(self.steps + 1) + int(self.reverse)

    def in_sequence(self, by_step: Tensor) -> Tensor:
        """With the last axis, which runs over states or steps in reading order, in the order of the labels."""
        return by_step.flip(-1) if self.reverse else by_step

    @property
    def cut(self) -> bool:
        """Whether lags that there are, are not followed."""
        return self.max_lag is not None and self.max_lag < int(self.positions.max())

    def lags(self, frame: Frame) -> Int[Tensor, " active"]:
        """The lag of every active source at a frame; negative where it reaches a state later than its own."""
        return self.positions[frame.sources] - frame.step

    @property
    def lag_range(self) -> tuple[int, int]:
        """The smallest and the largest lag that can occur."""
        smallest = 0 if self.causal else int(self.positions.min()) - self.steps
        largest = int(self.positions.max()) - self.begins
        return smallest, largest if self.max_lag is None else min(largest, self.max_lag)


FrameKind = TypeVar("FrameKind", bound=Frame, contravariant=True)


class Measure(ABC, Generic[FrameKind]):
    """One quantity, collected while the film is played."""

    @abstractmethod
    def update(self, frame: FrameKind) -> None:
        """Take in one frame."""


def log_mean_exp(logs: Float[Tensor, "active batch"]) -> Float[Tensor, " active"]:
    """ln of the mean over the batch of exp."""
    return torch.logsumexp(logs, dim=-1) - torch.log(torch.tensor(logs.shape[-1], dtype=logs.dtype))
