"""Running a model once, with every recurrence in it opened and cut out of the graph, and every loop seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from throughtime.capture.checkpointed import Segments
from throughtime.capture.checks import call_model, not_a_mask
from throughtime.capture.errors import FORWARDS, ExaminationError, NotFiniteError
from throughtime.capture.forwards import replaced
from throughtime.capture.graph import leaves_behind
from throughtime.capture.inputs import InputWatch
from throughtime.capture.modules import RECURRENT_MODULES, Layers, SingleStep, layers_of
from throughtime.capture.places import is_transformed, same
from throughtime.capture.plan import Plan
from throughtime.capture.recurrence import Opened, Recurrence, Run
from throughtime.capture.substitution import Substitution
from throughtime.capture.watched import LoopWatch
from throughtime.unroll import Layout, Reading, Trajectory, Weights, lengths_of, resets_of


@dataclass(frozen=True)
class Captured:
    """One forward run of a model.

    Args:
        output: What the model returned, computed on the cut graph.
        recurrences: All that ran, in the order in which they began.
        module_outputs: By name of a recurrent module, the output of each of its calls, packed ones as their data.
    """

    output: Any
    recurrences: list[Recurrence]
    module_outputs: dict[str, list[Tensor]] = field(default_factory=dict)


def capture(model: nn.Module, inputs: Any, plan: Plan, memory: int | None = None) -> Captured:
    """Run a model with every recurrent module replaced by one that keeps its trajectory, and every loop watched.

    Args:
        model: The model.
        inputs: What it is called with.
        plan: What is to be followed.
        memory: Bytes that the pre-activations of a recurrence may take; where they take more, they are not kept. And
            what the model's own run was given for the graphs of its layers: they are run in the same segments.

    Raises:
        ExaminationError: A recurrence cannot be followed, or a value is not finite; where it first is, is named.
    """
    substitution = Substitution(plan.reconnected)
    opening = _Opening(substitution, memory)
    loops = LoopWatch(model, plan.loops, substitution)
    input_watch = InputWatch(plan.inputs)
    try:
        with _opened(plan.opened, opening), finite_outputs(model), input_watch.watching(), substitution, loops:
            output = call_model(model, input_watch.prepared(inputs))
    except OutputNotFinite as error:
        # A loop inside the module has met it before, at a step.
        raise loops.first_not_finite() or error from None
    recurrences = sorted([*opening.recurrences(), *loops.recurrences()], key=lambda one: one.began)
    recurrences += input_watch.loops()
    return Captured(output, recurrences, opening.outputs)


@contextmanager
def _opened(modules: Mapping[str, nn.Module], opening: _Opening) -> Iterator[None]:
    """Inside, the opened modules keep what they run through."""
    opened: dict[nn.Module, Callable[..., Any]] = {}
    for name, module in modules.items():
        layers = layers_of(module)
        kind = _OpenedCell if isinstance(layers, SingleStep) else _OpenedLayers
        opened[module] = kind(name, layers, opening)
    with replaced(opened):
        yield


class OutputNotFinite(ExaminationError):
    """The output of a module without a recurrence holds NaN or inf."""


@contextmanager
def finite_outputs(model: nn.Module) -> Iterator[None]:
    """Stop at the first module without a recurrence whose output holds NaN or inf; -inf may be a mask."""

    def check(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            if not isinstance(output, Tensor) or not output.is_floating_point() or is_transformed(output):
                return
            if not_a_mask(output).any():
                raise OutputNotFinite(
                    f"model: the output of {name or 'the model'} ({type(module).__name__}) holds NaN or inf, and it is "
                    "the first to do so; look at its weights and at what goes into it"
                )

        return hook

    handles = [
        module.register_forward_hook(check(name))
        for name, module in model.named_modules()
        if not isinstance(module, (*RECURRENT_MODULES, torch.jit.ScriptModule))
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class _Handed:
    """A state that was handed to the user, (layers, batch, hidden) or (batch, hidden), and the runs it comes from."""

    tensor: Tensor
    version: int
    runs: dict[str, Run]


class _Opening:
    """The runs of all opened modules during one run of the model."""

    def __init__(self, substitution: Substitution, memory: int | None) -> None:
        self.substitution, self._memory = substitution, memory
        self.segments = Segments(memory)
        self._calls: Counter[str] = Counter()
        self.outputs: dict[str, list[Tensor]] = {}
        self._runs: list[Run] = []
        self._handed: dict[str, list[_Handed]] = {}
        self._detached: list[Run] = []

    def recurrences(self) -> list[Recurrence]:
        """The runs, those that continue one another as one."""
        chains: list[list[Run]] = []
        for run in self._runs:
            chain = next((one for one in chains if run.continues is not None and one[-1] is run.continues), None)
            if chain is None:
                chains.append([run])
            else:
                chain.append(run)
        found: list[Recurrence] = []
        for chain in chains:
            first = chain[0].name
            calls = 1 + sum(one.name.partition("#")[0] == first for one in found)
            steps, detached = 0, []
            for one in chain:
                if any(one is other for other in self._detached):
                    detached.append(steps)
                steps += one.steps
            found.append(Opened(f"{first}#{calls}" if calls > 1 else first, chain, tuple(detached)))
        return found

    def hand(self, state: str, tensor: Tensor, runs: dict[str, Run]) -> None:
        """Remember where a state that goes to the user comes from."""
        self._handed.setdefault(state, []).append(_Handed(tensor, tensor._version, runs))

    def called(self, module: str) -> int:
        """The number of this call among those of a module."""
        self._calls[module] += 1
        return self._calls[module] - 1

    def run(
        self,
        name: str,
        call: tuple[str, int],
        layers: Layers,
        place: tuple[int, int],
        sequence: Tensor,
        start: Started,
        segments: int | None = None,
    ) -> Run:
        """One layer and direction over a sequence, in so many parts one after the other; None for one."""
        layer, direction = place
        reading = start.reading
        parameters = layers.parameters(layer, direction)
        weights = Weights.of({key: parameter.detach() for key, parameter in parameters.items()})
        with torch.no_grad():
            zeros = {state: sequence.new_zeros(sequence.shape[1], size) for state, size in layers.sizes.items()}
            initial = {state: start.states.get(state, zero).detach() for state, zero in zeros.items()}
            trajectory = layers.run(weights, sequence.detach(), initial, reading, self._memory, segments)
            _check_finite(name, trajectory, reading.reverse)
            in_sequence = {state: reading.order(value[1:]) for state, value in trajectory.states.items()}
            # The states themselves, since nothing can change a leaf in place.
            hidden = in_sequence.pop("h").detach()
            final = {state: reading.last(value).clone() for state, value in in_sequence.items()}
        for leaf in (hidden, *final.values()):
            leaf.requires_grad_()
        continues, unbroken = self._previous(name, start)
        run = Run(
            name,
            reading,
            layers.cell,
            weights,
            parameters,
            trajectory,
            inputs=sequence,
            initial=start.states,
            hidden=hidden,
            final=final,
            continues=continues,
            unbroken=unbroken,
            number=next(self.substitution.clock),
            origins={key: (*call, attribute) for key, attribute in layers.attributes(layer, direction).items()},
        )
        self._runs.append(run)
        if continues is not None and any(self.substitution.was_reconnected(given) for given in start.given.values()):
            self._detached.append(run)
        return run

    def _previous(self, name: str, start: Started) -> tuple[Run | None, bool]:
        """The earlier run of the same name that a run starts from, and whether it starts from its very states."""
        reading = start.reading
        if reading.reverse or reading.lengths is not None or reading.resets is not None or not start.states:
            return None, False
        sources = [
            next(
                (
                    one.runs[name]
                    for one in self._handed.get(state, [])[::-1]
                    if name in one.runs and same(given, one.tensor) and one.tensor._version == one.version
                ),
                None,
            )
            for state, given in start.given.items()
        ]
        if sources[0] is not None and all(source is sources[0] for source in sources):
            # Those of a ragged batch are not the states after the last step, but after the last of every sample.
            return sources[0], sources[0].reading.lengths is None
        behind = leaves_behind(start.states["h"])
        for run in self._runs[::-1]:
            if run.name == name and any(id(leaf) in behind for leaf in run.leaves):
                return run, False
        return None, False


@dataclass(frozen=True)
class Started:
    """From what a run starts.

    Args:
        states: By state, s_0 of this layer and direction; none where it starts from zeros.
        given: By state, what the user handed to the module for all layers and directions.
        reading: The order in which the sequence is read.
    """

    states: dict[str, Tensor]
    given: dict[str, Tensor]
    reading: Reading


class _OpenedLayers:
    """The forward function of a recurrent layer or stack that keeps what it runs through."""

    def __init__(self, name: str, layers: Layers, opening: _Opening) -> None:
        self._name, self._layers, self._opening = name, layers, opening
        self._outputs = opening.outputs.setdefault(name, [])

    def __call__(self, input: Tensor | PackedSequence, hx: Any = None, **ours: Any) -> tuple[Any, ...]:
        with self._opening.substitution.paused():
            return self._forward(input, hx, **ours)

    def _forward(
        self,
        input: Tensor | PackedSequence,
        hx: Any,
        lengths: Any = None,
        reset_mask: Tensor | None = None,
        return_all_states: bool = False,
    ) -> tuple[Any, ...]:
        module, states = self._layers.module, self._layers.cell.states
        if return_all_states and len(states) > 1:
            raise ExaminationError(
                f"model: it asks {self._name!r} for return_all_states, but of the states {' and '.join(states)} only h "
                "can be followed at every step; read h from the output, and the final states from what it returns"
            )
        self._layers.called()
        sequence, layout = Layout.read(input, module.batch_first, lengths_of(lengths, input, module.batch_first))
        resets = resets_of(reset_mask, sequence, layout)
        call = self._name, self._opening.called(self._name)
        ours = {"lengths": lengths, "reset_mask": reset_mask, "return_all_states": return_all_states}
        segments = self._opening.segments.of(self._layers, input, ours)
        as_given = (
            dict(zip(states, hx if isinstance(hx, tuple | list) else (hx,), strict=True)) if hx is not None else {}
        )
        given = {state: layout.state_in(value) for state, value in as_given.items()}
        final: dict[str, list[Tensor]] = {state: [] for state in states}
        runs: dict[str, Run] = {}
        for layer in range(module.num_layers):
            outputs = []
            for direction in range(self._layers.directions):
                start = {state: value[len(final["h"])] for state, value in given.items()}
                reading = Reading(bool(direction), layout.lengths, resets)
                name = ".".join(filter(None, (self._name, f"l{layer}", "reverse" if direction else "")))
                started = Started(start, as_given, reading)
                read = reading.windowed(sequence, self._layers.cell.window)
                run = self._opening.run(name, call, self._layers, (layer, direction), read, started, segments)
                runs[name] = run
                outputs.append(run.hidden)
                final["h"].append(reading.last(run.hidden))
                for state, value in run.final.items():
                    final[state].append(value)
            sequence = torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0]
            if layer < module.num_layers - 1 and module.dropout and module.training:
                sequence = layout.dropped(sequence, module.dropout)
        # A copy, since a model may change its outputs in place, which the beginning of a graph does not allow.
        written = layout.written(sequence.clone())
        self._outputs.append(written.data.detach())
        last = {state: layout.state_out(torch.stack(values)) for state, values in final.items()}
        for state, value in last.items():
            self._opening.hand(state, value, runs)
        returned = written, tuple(last.values()) if len(last) > 1 else last["h"]
        if return_all_states:
            return *returned, layout.every_state(torch.stack([run.hidden for run in runs.values()]))
        return returned


class _OpenedCell:
    """The forward function of torch's single-step cells that keeps what it runs through."""

    def __init__(self, name: str, layers: Layers, opening: _Opening) -> None:
        self._name, self._layers, self._opening = name, layers, opening
        self._outputs = opening.outputs.setdefault(name, [])

    def __call__(self, input: Tensor, hx: Any = None) -> Any:
        with self._opening.substitution.paused():
            return self._forward(input, hx)

    def _forward(self, input: Tensor, hx: Any) -> Any:
        states, batched = self._layers.cell.states, input.dim() > 1
        given = dict(zip(states, hx if isinstance(hx, tuple | list) else (hx,), strict=True)) if hx is not None else {}
        start = {state: value if batched else value.unsqueeze(0) for state, value in given.items()}
        sequence = (input if batched else input.unsqueeze(0)).unsqueeze(0)
        name = self._name or "cell"
        call = self._name, self._opening.called(self._name)
        run = self._opening.run(name, call, self._layers, (0, 0), sequence, Started(start, given, Reading(False)))
        last = {"h": run.hidden[0], **run.final}
        if not batched:
            last = {state: value.squeeze(0) for state, value in last.items()}
        # A copy, since a model may change its states in place.
        last = {state: value.clone() for state, value in last.items()}
        self._outputs.append(last["h"].detach())
        for state, value in last.items():
            self._opening.hand(state, value, {name: run})
        return tuple(last.values()) if len(last) > 1 else last["h"]


def _check_finite(name: str, trajectory: Trajectory, reverse: bool) -> None:
    before = 0
    for stretch in trajectory.stretches():
        what = {"input": (stretch.inputs,), "pre-activation": (stretch.input_pre[:], stretch.recurrent_pre[:])}
        # What is carried is computed first.
        what |= {f"state {state}": (value[1:],) for state, value in reversed(stretch.states.items())}
        broken = {part: torch.stack([_broken(value) for value in values]).any(0) for part, values in what.items()}
        steps = torch.stack(list(broken.values())).any(dim=0)
        if steps.any():
            index = int(steps.nonzero()[0])
            part = next(part for part, at in broken.items() if at[index])
            step = trajectory.steps - before - index if reverse else before + index + 1
            raise NotFiniteError(name, step, trajectory.steps, part, FORWARDS)
        before += stretch.steps


def _broken(values: Tensor) -> Tensor:
    """The steps at which not every number is finite."""
    return ~values.isfinite().all(dim=-1).all(dim=-1)
