"""A cell unrolled over time: its weights, the trajectory it runs through, and the ways to it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from throughtime.cells import Cell, Named
from throughtime.fused import stepped
from throughtime.unroll.recomputed import Places, Recomputed

# Numbers among the pre-activations of the input that are looked at together.
NUMBERS_AT_ONCE = 2**18


@dataclass(frozen=True)
class Weights:
    """The weights of one recurrence, in torch's layout: gate k owns rows k * hidden to (k + 1) * hidden - 1.

    With a `weight_hr`, h_t is not the cell's output but a projection of it, h_t = W_hr output_t, `projected` features
    wide: torch's `proj_size` (Sak, Senior, Beaufays 2014, arXiv:1402.1128). Without, `projected` is `hidden`.

    `weight_hh` is a vector in a cell that the state enters unit by unit, and None in one that it does not enter; see
    `Cell.enters`. `units` are the cell's learned vectors, by name.
    """

    weight_ih: Float[Tensor, "gates_hidden input"]
    weight_hh: Float[Tensor, "entered_hidden projected"] | Float[Tensor, " entered_hidden"] | None = None
    bias_ih: Float[Tensor, " gates_hidden"] | None = None
    bias_hh: Float[Tensor, " entered_hidden"] | None = None
    weight_hr: Float[Tensor, "projected hidden"] | None = None
    units: Named = field(default_factory=dict)

    @classmethod
    def of(cls, named: Mapping[str, Tensor]) -> "Weights":
        """From tensors by torch's name, as `named` returns them."""
        own = {name: tensor for name, tensor in named.items() if name in cls.__dataclass_fields__}
        units = {name.removeprefix("weight_"): tensor for name, tensor in named.items() if name not in own}
        return cls(**own, units=units)

    def named(self) -> Named:
        """Those that there are, by torch's name."""
        own = {name: tensor for name, tensor in vars(self).items() if name != "units" and tensor is not None}
        return own | {f"weight_{name}": tensor for name, tensor in self.units.items()}

    def cpu(self) -> "Weights":
        """On the CPU."""
        return Weights.of({name: tensor.cpu() for name, tensor in self.named().items()})

    def by_gate(self, cell: Cell) -> Named:
        """The rows of `weight_hh` by gate that the state enters; none where it enters none."""
        if self.weight_hh is None:
            return {}
        return dict(zip(cell.entered, self.weight_hh.chunk(len(cell.entered), dim=0), strict=True))


@dataclass(frozen=True)
class Trajectory:
    """What a recurrence ran through, in the order in which it read the sequence.

    Args:
        inputs: x_1 .. x_T.
        input_pre: W_ih x_i + b_ih; made again where it is looked at if all of it would not fit in memory.
        recurrent_pre: W_hh h_{i-1} + b_hh, of the gates that the state enters; likewise.
        states: By name, s_0 .. s_T.
        running: Where a sample is read at all; elsewhere it rests, and nothing passes. None for everywhere.
        entered: By name, the states that steps 1 .. T started from, where something between the steps changed them.
        restarts: Where a step starts from zeros, whatever came before, so that nothing passes. None for nowhere.
        output: What W_hr projects to h_1 .. h_T, zero where a sample rests. None without a projection.
    """

    inputs: Float[Tensor, "time batch input"]
    input_pre: Float[Tensor, "time batch gates_hidden"] | Recomputed
    recurrent_pre: Float[Tensor, "time batch entered_hidden"] | Recomputed
    states: Named
    running: Bool[Tensor, "time batch"] | None = None
    entered: Named | None = None
    restarts: Bool[Tensor, "time batch"] | None = None
    output: Float[Tensor, "time batch hidden"] | None = None

    @property
    def steps(self) -> int:
        """T, the number of steps."""
        return self.inputs.shape[0]

    @property
    def size(self) -> int:
        """The numbers in the full state of a sample."""
        return sum(state.shape[-1] for state in self.states.values())

    def tensors(self) -> Iterator[Tensor]:
        """All that it consists of."""
        for held in vars(self).values():
            parts = held.values() if isinstance(held, dict) else (held,)
            yield from (part for part in parts if isinstance(part, Tensor))

    def cpu(self) -> "Trajectory":
        """On the CPU."""

        def moved(value: Tensor | Recomputed | Named | None) -> Any:
            if isinstance(value, Tensor | Recomputed):
                return value.cpu()
            return None if value is None else {name: state.cpu() for name, state in value.items()}

        return Trajectory(**{name: moved(value) for name, value in vars(self).items()})

    def padded(self, batch: int) -> "Trajectory":
        """With zeros for further samples, which rest."""

        def more(tensor: Tensor) -> Tensor:
            return functional.pad(tensor, (0, 0, 0, batch - tensor.shape[1]))

        return Trajectory(
            more(self.inputs),
            more(self.input_pre[:]),
            more(self.recurrent_pre[:]),
            {state: more(value) for state, value in self.states.items()},
            functional.pad(self._all_running, (0, batch - self.inputs.shape[1])),
            restarts=None
            if self.restarts is None
            else functional.pad(self.restarts, (0, batch - self.inputs.shape[1])),
            output=None if self.output is None else more(self.output),
        )

    def at(self, steps: Int[Tensor, " step"], samples: Int[Tensor, " sample"]) -> "Trajectory":
        """Some of the steps 1 .. T of some samples, one after the other; each starts from what it started from."""
        read = (steps - 1).unsqueeze(1)

        def some(tensor: Tensor | Recomputed) -> Tensor:
            return tensor[read, samples]

        return Trajectory(
            some(self.inputs),
            some(self.input_pre),
            some(self.recurrent_pre),
            {name: torch.cat([state[:1, samples], some(state[1:])]) for name, state in self.states.items()},
            None if self.running is None else some(self.running),
            {name: some(self.before(name)) for name in self.states},
            None if self.restarts is None else some(self.restarts),
            None if self.output is None else some(self.output),
        )

    def last(self, steps: int, samples: int) -> "Trajectory":
        """No more than so many of the samples that are read longest, at the last steps at which all of them are."""
        together, longest = self.read_longest(samples)
        return self.at(together[-steps:], longest)

    def read_longest(self, samples: int) -> tuple[Int[Tensor, " step"], Int[Tensor, " sample"]]:
        """At which of the steps 1 .. T all of those samples are read that are read longest, so many at most; and which
        they are."""
        running = self._all_running
        longest = running.sum(0).argsort(descending=True, stable=True)[:samples]
        return running[:, longest].all(1).nonzero().squeeze(1) + 1, longest

    def stretches(self) -> Iterator["Trajectory"]:
        """The same, some steps after the others, for what would take much memory of all steps at once; no copies."""
        length = max(1, NUMBERS_AT_ONCE // max(1, self.input_pre[0].numel()))
        for start in range(0, self.steps, length):
            some = slice(start, start + length)
            yield Trajectory(
                self.inputs[some],
                self.input_pre[some],
                self.recurrent_pre[some],
                {name: state[start : start + length + 1] for name, state in self.states.items()},
                None if self.running is None else self.running[some],
                None if self.entered is None else {name: state[some] for name, state in self.entered.items()},
                None if self.restarts is None else self.restarts[some],
                None if self.output is None else self.output[some],
            )

    def before(self, state: str) -> Float[Tensor, "time batch hidden"]:
        """What steps 1 .. T started from: s_0 .. s_{T-1}, unless something between the steps changed it."""
        return self.states[state][:-1] if self.entered is None else self.entered[state]

    def seen_by(self, cell: Cell, places: slice | Tensor = slice(None)) -> tuple[Named, Named, Tensor, Tensor]:
        """What a cell's equations see at steps 1 .. T, or at some of them, counted from 0.

        Returns:
            By gate W_ih x_i + b_ih, by gate W_hh h_{i-1} + b_hh, and the carried state before and after.
        """
        before, after = self.before(cell.carried)[places], self.states[cell.carried][1:][places]
        return cell.split(self.input_pre[places]), cell.split_recurrent(self.recurrent_pre[places]), before, after

    @property
    def _all_running(self) -> Bool[Tensor, "time batch"]:
        return self.inputs.new_ones(self.inputs.shape[:2], dtype=torch.bool) if self.running is None else self.running


def joined(trajectories: Sequence[Trajectory]) -> Trajectory:
    """Trajectories of the same cell, one after the other, as one; each starts from what its predecessor led to.

    Where later ones have fewer samples, the last samples have ended: they rest.
    """
    if len(trajectories) == 1:
        return trajectories[0]
    batch = max(part.inputs.shape[1] for part in trajectories)
    trajectories = [part if part.inputs.shape[1] == batch else part.padded(batch) for part in trajectories]
    first = trajectories[0]
    outputs = [part.output for part in trajectories if part.output is not None]
    return Trajectory(
        torch.cat([part.inputs for part in trajectories]),
        torch.cat([part.input_pre[:] for part in trajectories]),
        torch.cat([part.recurrent_pre[:] for part in trajectories]),
        {
            state: torch.cat([start[:1], *(part.states[state][1:] for part in trajectories)])
            for state, start in first.states.items()
        },
        _whole([part.running for part in trajectories], trajectories, True),
        entered={state: torch.cat([part.before(state) for part in trajectories]) for state in first.states},
        restarts=_whole([part.restarts for part in trajectories], trajectories, False),
        output=torch.cat(outputs) if outputs else None,
    )


def _whole(
    masks: Sequence[Tensor | None], trajectories: Sequence[Trajectory], otherwise: bool
) -> Bool[Tensor, "time batch"] | None:
    """The masks one after the other, filled up where there is none; None where there is none at all."""
    if all(mask is None for mask in masks):
        return None
    return torch.cat(
        [
            part.inputs.new_full(part.inputs.shape[:2], otherwise, dtype=torch.bool) if mask is None else mask
            for mask, part in zip(masks, trajectories, strict=True)
        ]
    )


def unroll(
    cell: Cell,
    weights: Weights,
    inputs: Float[Tensor, "time batch input"],
    initial: Named,
    running: Bool[Tensor, "time batch"] | None = None,
    restarts: Bool[Tensor, "time batch"] | None = None,
) -> Trajectory:
    """Run the reference step over a sequence.

    Differentiable. The product with the input is taken for all steps at once.

    Args:
        cell: The equations.
        weights: Their weights.
        inputs: The sequence, in the order in which it is to be read.
        initial: By state name, s_0 of shape (batch, hidden), h_0 of (batch, projected).
        running: Where a sample is read at all; elsewhere it rests at its state. None for everywhere.
        restarts: Where a step starts from zeros, whatever came before. None for nowhere.
    """
    input_pre = functional.linear(inputs, weights.weight_ih, weights.bias_ih)
    steps = list(stepped(cell, input_pre, weights.named(), initial, running, restarts))
    lefts = [initial, *(step.left for step in steps)]
    return Trajectory(
        inputs,
        input_pre,
        torch.stack([step.recurrent_pre for step in steps]),
        _stacked(initial, lefts),
        running,
        entered=None if restarts is None else _stacked(initial, [step.entered for step in steps]),
        restarts=restarts,
        output=None if weights.weight_hr is None else torch.stack([step.output for step in steps]),
    )


def _stacked(names: Iterable[str], steps: Sequence[Named]) -> Named:
    return {name: torch.stack([states[name] for states in steps]) for name in names}


def retrace(
    cell: Cell,
    weights: Weights,
    inputs: Float[Tensor, "time batch input"],
    initial: Named,
    known: Named,
    running: Bool[Tensor, "time batch"] | None = None,
    restarts: Bool[Tensor, "time batch"] | None = None,
    memory: int | None = None,
) -> Trajectory:
    """The trajectory of a recurrence whose states are known, because a kernel has run it.

    Every step starts from the given states, so that rounding does not grow along a chaotic sequence, and all steps are
    taken at once; only a carried state that the kernel keeps to itself is run through step by step.

    Args:
        cell: The equations. Where there is a carried state that is not known, its gates must not depend on it.
        weights: Their weights.
        inputs: The sequence, in the order in which it was read.
        initial: By state name, s_0 of shape (batch, hidden), h_0 of (batch, projected).
        known: By state name, s_1 .. s_T; of h at least.
        running: Where a sample is read at all; elsewhere it rests at its state. None for everywhere.
        restarts: Where a step starts from zeros, whatever came before. None for nowhere; only where all is known.
        memory: Bytes that the pre-activations may take; where they take more, they are made again wherever they are
            looked at. None for as many as they need.
    """
    states = {name: torch.cat([initial[name].unsqueeze(0), steps]) for name, steps in known.items()}
    del known
    before = {name: state[:-1] for name, state in states.items()}
    if restarts is not None:
        before = {name: state.masked_fill(restarts.unsqueeze(-1), 0) for name, state in before.items()}
    input_pre, recurrent_pre = _pre_activations(cell, weights, inputs, before, memory)
    if cell.carried in states:
        entered = None if restarts is None else before
        return Trajectory(inputs, input_pre, recurrent_pre, states, running, entered, restarts)
    carried = states[cell.carried] = initial[cell.carried].new_empty(len(inputs) + 1, *initial[cell.carried].shape)
    carried[0] = initial[cell.carried]
    output = None if weights.weight_hr is None else torch.empty_like(carried[1:])
    length = max(1, NUMBERS_AT_ONCE // max(1, input_pre[0].numel()))
    for start in range(0, len(inputs), length):
        some = slice(start, start + length)
        update = cell.update(input_pre[some], recurrent_pre[some], None, weights.units)
        for step, (keep, written) in enumerate(zip(update.keep, update.write * update.candidate, strict=True), start):
            new = keep * carried[step] + written
            carried[step + 1] = new if running is None else torch.where(running[step].unsqueeze(-1), new, carried[step])
        if output is not None:
            output[some] = update.apply(carried[:-1][some])[0]
    if output is not None and running is not None:
        output *= running.unsqueeze(-1)
    return Trajectory(inputs, input_pre, recurrent_pre, states, running, output=output)


def _pre_activations(
    cell: Cell,
    weights: Weights,
    inputs: Float[Tensor, "time batch input"],
    before: Named,
    memory: int | None,
) -> tuple[Tensor | Recomputed, Tensor | Recomputed]:
    """Those of the input and those of the state, kept if they fit."""

    def of_input(places: Places) -> Tensor:
        return functional.linear(inputs[places], weights.weight_ih, weights.bias_ih)

    def of_state(places: Places) -> Tensor:
        hidden, carried = before["h"][places], before.get(cell.carried, before["h"])[places]
        return cell.recurrent_pre(hidden, carried, weights.weight_hh, weights.bias_hh)

    rows = len(weights.weight_ih) + (0 if weights.weight_hh is None else len(weights.weight_hh))
    if memory is None or inputs[..., 0].numel() * rows * inputs.element_size() <= memory:
        return of_input(slice(None)), of_state(slice(None))
    return Recomputed(of_input, len(inputs)), Recomputed(of_state, len(inputs))
