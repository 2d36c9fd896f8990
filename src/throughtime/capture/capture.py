"""Running a model once, with every recurrence in it opened and cut out of the graph."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from throughtime.capture.checks import not_a_mask
from throughtime.capture.errors import ExaminationError
from throughtime.capture.modules import RECURRENT_MODULES, SINGLE_STEP_MODULES, Layers, layers_of
from throughtime.capture.recurrence import Recurrence
from throughtime.capture.sequences import Layout, Reading
from throughtime.unroll import Trajectory, Weights


@dataclass(frozen=True)
class Captured:
    """One forward run of a model.

    Args:
        output: What the model returned, computed on the cut graph.
        recurrences: All that ran, in the order of execution.
        module_outputs: By name of a recurrent module, the output of each of its calls, packed ones as their data.
    """

    output: Any
    recurrences: list[Recurrence]
    module_outputs: dict[str, list[Tensor]] = field(default_factory=dict)


def recurrent_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The recurrent modules of a model, by qualified name.

    Raises:
        ExaminationError: There is none.
    """
    found: dict[str, nn.Module] = {
        name: module for name, module in model.named_modules() if isinstance(module, RECURRENT_MODULES)
    }
    if not found:
        single = sorted({type(m).__name__ for m in model.modules() if isinstance(m, SINGLE_STEP_MODULES)})
        kinds = sorted({type(module).__name__ for module in model.modules()})
        hint = (
            f" A loop over {', '.join(single)} is not followed yet; use the layer of the same name." if single else ""
        )
        raise ExaminationError(
            "model: no recurrence found. Expected nn.RNN, nn.GRU, nn.LSTM or a throughtime layer among its modules, "
            f"found {', '.join(kinds)}.{hint}"
        )
    return found


def capture(model: nn.Module, run: Callable[[], Any]) -> Captured:
    """Run a model with every recurrent module replaced by one that keeps its trajectory.

    Args:
        model: The model.
        run: Calls it.

    Raises:
        ExaminationError: A recurrence cannot be followed, or a value is not finite; where it first is, is named.
    """
    recurrences: list[Recurrence] = []
    outputs: dict[str, list[Tensor]] = {}
    with _opened(model, recurrences, outputs), finite_outputs(model):
        output = run()
    return Captured(output, recurrences, outputs)


@contextmanager
def _opened(model: nn.Module, recurrences: list[Recurrence], outputs: dict[str, list[Tensor]]) -> Iterator[None]:
    opened = recurrent_modules(model)
    patched = {name: module.__dict__["forward"] for name, module in opened.items() if "forward" in module.__dict__}
    try:
        for name, module in opened.items():
            module.forward = _Opened(name, layers_of(module), recurrences, outputs.setdefault(name, []))
        yield
    finally:
        for name, module in opened.items():
            module.__dict__.pop("forward", None)
            if name in patched:
                module.forward = patched[name]


@contextmanager
def finite_outputs(model: nn.Module) -> Iterator[None]:
    """Stop at the first module without a recurrence whose output holds NaN or inf; -inf may be a mask."""

    def check(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, arguments: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point() and not_a_mask(output).any():
                raise ExaminationError(
                    f"model: the output of {name or 'the model'} ({type(module).__name__}) holds NaN or inf, and it is "
                    "the first to do so; look at its weights and at what goes into it"
                )

        return hook

    handles = [
        module.register_forward_hook(check(name))
        for name, module in model.named_modules()
        if not isinstance(module, RECURRENT_MODULES)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Opened:
    """The forward function of a recurrent module that keeps what it runs through."""

    def __init__(self, name: str, layers: Layers, recurrences: list[Recurrence], outputs: list[Tensor]) -> None:
        self._name, self._layers, self._recurrences, self._outputs = name, layers, recurrences, outputs

    def __call__(self, input: Tensor | PackedSequence, hx: Any = None) -> tuple[Tensor | PackedSequence, Any]:
        module, states = self._layers.module, self._layers.cell.states
        sequence, layout = Layout.read(input, module.batch_first)
        given = dict(zip(states, hx if isinstance(hx, tuple | list) else (hx,), strict=True)) if hx is not None else {}
        given = {state: layout.state_in(value) for state, value in given.items()}
        final: dict[str, list[Tensor]] = {state: [] for state in states}
        for layer in range(module.num_layers):
            outputs = []
            for direction in range(self._layers.directions):
                start = {state: value[len(final["h"])] for state, value in given.items()}
                reading = Reading(bool(direction), layout.lengths)
                recurrence = self._run(sequence, start, layer, reading)
                outputs.append(recurrence.hidden)
                final["h"].append(reading.last(recurrence.hidden))
                for state, value in recurrence.final.items():
                    final[state].append(value)
            sequence = torch.cat(outputs, dim=-1) if len(outputs) > 1 else outputs[0]
            if layer < module.num_layers - 1:
                sequence = self._dropped(sequence, layout)
        written = layout.written(sequence)
        self._outputs.append(written.data.detach())
        last = [layout.state_out(torch.stack(values)) for values in final.values()]
        return written, tuple(last) if len(last) > 1 else last[0]

    def _dropped(self, sequence: Tensor, layout: Layout) -> Tensor:
        """Dropout between layers, drawn for the same numbers in the same order as the module draws it."""
        module = self._layers.module
        if layout.packed is None:
            return functional.dropout(sequence, module.dropout, module.training)
        data = functional.dropout(layout.written(sequence).data, module.dropout, module.training)
        return Layout.read(layout.packed._replace(data=data), module.batch_first)[0]

    def _run(self, sequence: Tensor, start: dict[str, Tensor], layer: int, reading: Reading) -> Recurrence:
        name = ".".join(filter(None, (self._name, f"l{layer}", "reverse" if reading.reverse else "")))
        calls = sum(1 for other in self._recurrences if other.name.partition("#")[0] == name)
        name = f"{name}#{calls + 1}" if calls else name
        parameters = self._layers.parameters(layer, int(reading.reverse))
        weights = Weights(**{key: parameter.detach() for key, parameter in parameters.items()})
        with torch.no_grad():
            zeros = {state: sequence.new_zeros(sequence.shape[1], size) for state, size in self._layers.sizes.items()}
            initial = {state: start.get(state, zero).detach() for state, zero in zeros.items()}
            trajectory = self._layers.run(weights, sequence.detach(), initial, reading)
            _check_finite(name, trajectory, reading.reverse)
            in_sequence = {state: reading.order(value[1:]) for state, value in trajectory.states.items()}
            hidden = in_sequence.pop("h").clone()
            final = {state: reading.last(value).clone() for state, value in in_sequence.items()}
        for leaf in (hidden, *final.values()):
            leaf.requires_grad_()
        recurrence = Recurrence(
            name,
            self._layers.module,
            layer,
            reading,
            self._layers.cell,
            weights,
            parameters,
            trajectory,
            sequence,
            start,
            hidden,
            final,
        )
        self._recurrences.append(recurrence)
        return recurrence


def _check_finite(name: str, trajectory: Trajectory, reverse: bool) -> None:
    what = {"input": trajectory.inputs, "pre-activation": trajectory.recurrent_pre + trajectory.input_pre}
    what |= {f"state {state}": value[1:] for state, value in trajectory.states.items()}
    broken = {part: ~value.isfinite().all(dim=-1).all(dim=-1) for part, value in what.items()}
    steps = torch.stack(list(broken.values())).any(dim=0)
    if steps.any():
        index = int(steps.nonzero()[0])
        part = next(part for part, at in broken.items() if at[index])
        step = trajectory.steps - index if reverse else index + 1
        raise ExaminationError(
            f"model: NaN or inf in recurrence {name!r}, first at step {step} of {trajectory.steps}, in its {part}; "
            "look at the data of that step and at the size of the weights"
        )
