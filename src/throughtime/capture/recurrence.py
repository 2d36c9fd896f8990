"""The recurrences of somebody else's model: those whose equations are known, and loops over anything else."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from throughtime.capture.samples import sample_axes
from throughtime.cells import Cell, Named
from throughtime.unroll import Reading, Trajectory, Weights, joined


@dataclass(frozen=True)
class Run:
    """One layer and direction of a recurrent module, as one call of that module ran it: one step or many.

    The autograd graph is cut behind it: `hidden` and `final` are leaves of what follows, `inputs` and `initial` the
    ends of what came before.

    Args:
        name: Qualified name of the module, layer and direction: "encoder.l0", "encoder.l0.reverse".
        reading: The order in which it reads the sequence.
        cell: Its equations.
        weights: Its weights, detached.
        parameters: Its weights as the user's model holds them, by torch's name without layer and direction.
        trajectory: What it ran through, in reading order.
        inputs: x_1 .. x_T as the user's graph made them, in the order of the sequence.
        initial: By state, s_0 as the user's graph made it; without those that start from zeros.
        hidden: h_1 .. h_T in the order of the sequence.
        final: The last value of every state other than h.
        continues: The earlier run whose final states this one starts from.
        unbroken: Whether it starts from exactly these; otherwise from what the model made of them.
        number: In the order of execution.
        origins: By weight, the name of the module, the number of its call, and the attribute that held the weight.
    """

    name: str
    reading: Reading
    cell: Cell
    weights: Weights
    parameters: Mapping[str, Tensor]
    trajectory: Trajectory
    inputs: Float[Tensor, "time batch input"]
    initial: Named
    hidden: Float[Tensor, "time batch hidden"]
    final: Named
    continues: Run | None = None
    unbroken: bool = False
    number: int = 0
    origins: Mapping[str, tuple[str, int, str]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """T."""
        return self.hidden.shape[0]

    @property
    def batch(self) -> int:
        """Samples."""
        return self.hidden.shape[1]

    @property
    def reverse(self) -> bool:
        """Whether it reads the sequence from the end."""
        return self.reading.reverse

    @property
    def leaves(self) -> list[Tensor]:
        """Where the graph of what follows begins."""
        return [self.hidden, *self.final.values()]

    @property
    def ends(self) -> list[Tensor]:
        """Where the graph of what came before ends; states that are passed on as they are need no graph."""
        return [self.inputs, *(() if self.unbroken else self.initial.values())]


class Recurrence(ABC):
    """What is followed under one name, through all of its steps 1..T.

    Attributes:
        name: Qualified name.
        states: The names of its states.
        steps: T.
        batch: Samples.
        reverse: Whether it reads the sequence from the end.
        parameters: Its weights as the user's model holds them, by name.
        cell_name: What its step is called.
        detached: The states after which the user's model cuts the graph, by number.
        begins: The first state that was seen.
        began: When it began, among all that did.
    """

    name: str
    states: tuple[str, ...]
    steps: int
    batch: int
    reverse: bool = False
    parameters: Mapping[str, Tensor]
    cell_name: str
    detached: tuple[int, ...] = ()
    begins: int = 0
    began: int = 0

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Of its states."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Units: the numbers in its carried state, in a loop those in its first, per sample."""


class Opened(Recurrence):
    """One layer and direction whose equations are known: a single run over the sequence, or a chain of runs.

    Args:
        name: Qualified name.
        runs: In order; more than one where the module is called again with the states it ended in.
    """

    def __init__(self, name: str, runs: Sequence[Run], detached: tuple[int, ...] = ()) -> None:
        self.name, self.runs, self.detached = name, tuple(runs), detached
        first = self.runs[0]
        self.cell, self.weights, self.parameters = first.cell, first.weights, first.parameters
        self.reverse = first.reverse
        self.states, self.cell_name = first.cell.states, type(first.cell).__name__
        self.began = first.number
        self.batch = max(run.batch for run in self.runs)
        self.steps = sum(run.steps for run in self.runs)

    @cached_property
    def trajectory(self) -> Trajectory:
        """Through all runs."""
        return joined([run.trajectory for run in self.runs])

    @cached_property
    def on_cpu(self) -> Opened:
        """The same with its weights and its trajectory on the CPU, wherever the model is."""
        moved = copy.copy(self)
        moved.weights, moved.trajectory = self.weights.cpu(), self.trajectory.cpu()
        return moved

    def origins(self, name: str) -> list[tuple[str, int, str]]:
        """Where every run had a weight from: see `Run.origins`."""
        return [run.origins[name] for run in self.runs]

    @property
    def offsets(self) -> list[int]:
        """For every run, how many steps came before it."""
        return [sum(run.steps for run in self.runs[:index]) for index in range(len(self.runs))]

    @property
    def dtype(self) -> torch.dtype:
        """Of its states."""
        return self.runs[0].hidden.dtype

    @property
    def width(self) -> int:
        """H."""
        return self.runs[0].trajectory.states[self.cell.carried].shape[-1]


class Loop(Recurrence):
    """Something that is called step by step, and whose output comes back as its input: its graph is left whole.

    Args:
        name: Qualified name of the module or function.
        visited: By state, s_0 .. s_T as the user's graph made them; None where a state was not seen.
        copies: By weight, the copies that every step 1..T worked with.
        parameters: The weights themselves, by the same names.
        outside: By weight, what the rest of the model worked with: the weight itself, or copies of it.
        cell_name: What the module or function is called.
        detached: The steps after which the model itself cuts the graph.
        began: When the first of its calls was, in the order of execution.
        samples: How many samples its inputs have, where they tell.
    """

    def __init__(
        self,
        name: str,
        visited: Mapping[str, Sequence[Tensor | None]],
        copies: Mapping[str, Sequence[Sequence[Tensor]]],
        parameters: Mapping[str, Tensor],
        outside: Mapping[str, Sequence[Tensor]],
        cell_name: str,
        detached: tuple[int, ...] = (),
        began: int = 0,
        samples: int | None = None,
    ) -> None:
        self.began = began
        self.name, self.visited, self.copies, self.parameters = name, visited, copies, parameters
        self.outside, self.cell_name, self.detached = outside, cell_name, detached
        self.states = tuple(visited)
        self.steps = len(next(iter(visited.values()))) - 1
        self.begins = int(any(values[0] is None for values in visited.values()))
        seen = {state: next(value for value in values if value is not None) for state, values in visited.items()}
        self._axes = sample_axes(visited, samples)
        state, axis = next(iter(self._axes.items()))
        self.batch = 1 if axis is None else seen[state].shape[axis]
        self._dtype = next(iter(seen.values())).dtype
        self._width = next(iter(seen.values())).numel() // self.batch

    @property
    def dtype(self) -> torch.dtype:
        """Of its first state, a complex one as its parts."""
        return self._dtype.to_real()

    @property
    def width(self) -> int:
        """Numbers in its first state, per sample."""
        return self._width

    def rows(self, state: str, gradients: Inexact[Tensor, "source *state"]) -> Float[Tensor, "source batch hidden"]:
        """Gradients of a state, laid out with one row per source and sample."""
        axis = self._axes[state]
        if gradients.is_complex():
            gradients = torch.view_as_real(gradients)
        if axis is None:
            return gradients.reshape(len(gradients), 1, -1)
        rows = gradients.movedim(axis + 1, 1).reshape(len(gradients), gradients.shape[axis + 1], -1)
        # Samples that have ended are the last ones.
        return torch.nn.functional.pad(rows, (0, 0, 0, self.batch - rows.shape[1]))

    def shaped(self, state: str, rows: Float[Tensor, "source batch hidden"], like: Tensor) -> Tensor:
        """The inverse of `rows`, for a state tensor."""
        axis = self._axes[state]
        shape = (*like.shape, 2) if like.is_complex() else tuple(like.shape)
        if axis is None:
            back = rows.reshape(len(rows), *shape)
        else:
            rest = shape[:axis] + shape[axis + 1 :]
            there = rows[:, : shape[axis]]
            back = there.reshape(*there.shape[:2], *rest).movedim(1, axis + 1)
        return torch.view_as_complex(back.contiguous()) if like.is_complex() else back
