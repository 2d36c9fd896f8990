"""What a measure is, and what all measures of one recurrence share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from throughtime.adjoint import Frame
from throughtime.notation import turned


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
        ends: Of a single source that reads samples to steps of their own, those: the lags of a sample are counted from
            its end, -1 for one that is not read. `positions` is then the largest of them. None where all are counted
            from `positions`, and have the same lags.
        starts: The state from which each sample starts; None where all start from the first.
        last: The state in which each sample ends, whatever is read of it; None where all end in the last.
        out_of_step: Whether there are as many losses as steps, and they read other steps than their own.
        single: Whether it is certain that every source reads one step only, of every sample.
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
    ends: Int[Tensor, " batch"] | None = None
    starts: Int[Tensor, " batch"] | None = None
    last: Int[Tensor, " batch"] | None = None
    out_of_step: bool = False
    single: bool = True

    @property
    def some(self) -> bool:
        """Whether several losses were followed, and not all: then losses are resampled."""
        return self.sources > 1 and self.followed < 1

    @property
    def spans(self) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """The first and the last state that there is of every sample, and is followed."""
        first = torch.zeros(self.batch, dtype=torch.long) if self.starts is None else self.starts
        last = torch.full((self.batch,), self.steps) if self.last is None else self.last
        return first.clamp(min=self.begins), last

    @property
    def sources(self) -> int:
        """How many sources there are."""
        return len(self.loss_steps)

    @cached_property
    def kept(self) -> Int[Tensor, " state_step"]:
        """The states that have a column in a map, in reading order: all of them, 0..T.

        With a `max_lag`, those that any source is followed to, and the one before, which the last step leads to: so
        the map of a long sequence grows with the sources, not with the sequence.
        """
        if not self.cut:
            return torch.arange(self.steps + 1)
        first = (self.followed_to - 1).clamp(min=0)
        last = self.positions if self.causal else torch.full_like(self.positions, self.steps)
        change = torch.zeros(self.steps + 2, dtype=torch.long)
        change.index_add_(0, first, torch.ones_like(first)).index_add_(0, last + 1, -torch.ones_like(last))
        return (change[:-1].cumsum(0) > 0).nonzero().squeeze(-1)

    @cached_property
    def column(self) -> Int[Tensor, " state_step"]:
        """For every state 0..T, its place among those kept; one less is that of the step that leads to it."""
        return torch.full((self.steps + 1,), -1).index_copy_(0, self.kept, torch.arange(len(self.kept)))

    @property
    def state_steps(self) -> Int[Tensor, " state_step"]:
        """The labels of the states kept, in increasing order: of all, 0..T, or 1..T + 1 where it is read in reverse."""
        return self.in_sequence(turned(self.kept, self.steps, self.reverse))

    @property
    def step_labels(self) -> Int[Tensor, " step"]:
        """The labels of the steps that lead from one state kept to the next: of all, 1..T."""
        return self.state_steps[:-1] if self.reverse else self.state_steps[1:]

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

    def lags_by_sample(
        self, lags: Int[Tensor, " row"]
    ) -> tuple[Int[Tensor, "row batch"], Bool[Tensor, "row batch"]] | None:
        """The lag of every sample where they end apart, and whether it is one of `lag_range`; None where they do not.

        Args:
            lags: From `positions`.
        """
        if self.ends is None:
            return None
        smallest, largest = self.lag_range
        found = lags.unsqueeze(-1) - (self.positions - self.ends)
        return found.clamp(smallest, largest), (found >= smallest) & (found <= largest)

    @property
    def followed_to(self) -> Int[Tensor, " source"]:
        """The smallest state to which every source is followed, of all samples."""
        if self.max_lag is None:
            return torch.full_like(self.positions, self.begins)
        return (self._nearest - self.max_lag).clamp(min=self.begins)

    def window_begins(self, window: int) -> Int[Tensor, " source"]:
        """For every source the first state that it is followed to where the graph is cut after every `window` steps."""
        first = (self.positions - 1) // window * window + 1
        # Nothing is cut before the first step.
        return torch.where(first == 1, self.begins, first)

    @property
    def _nearest(self) -> Int[Tensor, " source"]:
        """The first step from which lags are counted in any sample."""
        return self.positions if self.ends is None else self.ends[self.ends > 0].amin().expand_as(self.positions)

    def looking_back(self, windows: Int[Tensor, " window"]) -> Int[Tensor, " window"]:
        """How many sources have a weight term at a distance |t - i| of so many steps or further."""
        farthest = self.positions - 1 if self.causal else torch.maximum(self.positions - 1, self.steps - self.positions)
        return (farthest.unsqueeze(1) >= windows).sum(0)

    @property
    def lag_range(self) -> tuple[int, int]:
        """The smallest and the largest lag that can occur."""
        smallest = 0 if self.causal else int(self._nearest.min()) - self.steps
        largest = int(self.positions.max()) - self.begins
        return smallest, largest if self.max_lag is None else min(largest, self.max_lag)

    @property
    def lag_count(self) -> int:
        """How many lags can occur."""
        smallest, largest = self.lag_range
        return largest - smallest + 1


FrameKind = TypeVar("FrameKind", bound=Frame, contravariant=True)


class Measure(ABC, Generic[FrameKind]):
    """One quantity, collected while the film is played."""

    @abstractmethod
    def update(self, frame: FrameKind) -> None:
        """Take in one frame."""


def log_mean_exp(logs: Float[Tensor, "active batch"]) -> Float[Tensor, " active"]:
    """ln of the mean over the batch of exp."""
    return torch.logsumexp(logs, dim=-1) - torch.log(torch.tensor(logs.shape[-1], dtype=logs.dtype))
