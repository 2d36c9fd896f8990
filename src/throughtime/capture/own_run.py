"""The user's own forward and backward pass, against which every examination is checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from throughtime.capture.checkpointed import checkpointed
from throughtime.capture.errors import ExaminationError
from throughtime.capture.forwards import replaced
from throughtime.capture.modules import (
    RECURRENT_MODULES,
    SINGLE_STEP_MODULES,
    named_modules,
    noting_weights,
    own_kind,
    weights_of,
)
from throughtime.capture.recurrence import Opened, Recurrence
from throughtime.capture.substitution import Substitution
from throughtime.capture.watch import Call, Watch
from throughtime.unroll import Recurrent


@dataclass(frozen=True)
class OwnRun:
    """One ordinary training step of the user's model, without the step.

    Args:
        module_outputs: By name of a recurrent module, the output of each of its calls, packed ones as their data.
        weights: By name of a recurrent module, for each of its calls the weights that it worked with, by attribute.
        losses: One loss per step.
        problem: Why there are none.
        calls: All calls that it made.
        detached: What every detach in it returned.
        found: Once the backward pass is done, by identity what it has left in everything that may be a weight.
    """

    module_outputs: dict[str, list[Tensor]]
    weights: dict[str, list[dict[str, Tensor]]]
    losses: Tensor
    problem: ExaminationError | None = None
    calls: Sequence[Call] = ()
    detached: Sequence[Tensor] = ()
    found: Mapping[int, Tensor | None] = field(default_factory=dict)

    def after_backward(self, model: nn.Module, sources: Tensor) -> OwnRun:
        """The same run after a backward pass from the sum of the sources' losses, without its graph.

        The graph of a long sequence is by far the largest thing there is, so that nothing else is made before it is
        gone.
        """
        held = [one for calls in self.weights.values() for call in calls for one in call.values()]
        every = {id(one): one for one in (*model.parameters(), *held) if one.requires_grad}
        with torch.enable_grad():
            total = self.losses[sources].sum()
        found: dict[int, Tensor | None] = {}
        if every and total.requires_grad:
            gradients = torch.autograd.grad(total, list(every.values()), allow_unused=True)
            found = dict(zip(every, gradients, strict=True))
        outputs = {name: [one.detach() for one in ones] for name, ones in self.module_outputs.items()}
        return replace(self, module_outputs=outputs, losses=self.losses.detach(), calls=(), detached=(), found=found)

    def gradients(self, recurrences: Sequence[Recurrence]) -> list[dict[str, Tensor]]:
        """For every recurrence, .grad of its weights."""
        return [
            {name: _summed(self._held(recurrence, name), self.found) for name in recurrence.parameters}
            for recurrence in recurrences
        ]

    def _held(self, recurrence: Recurrence, name: str) -> list[Tensor]:
        """What this run worked with as a weight: the parameter, or at every call what the module made of others."""
        if not isinstance(recurrence, Opened):
            return [recurrence.parameters[name]]
        found = []
        for module, call, attribute in recurrence.origins(name):
            noted = self.weights[module]
            # A subclass may run its layer several times in a call, all of them with the weights that were noted then.
            found.append(noted[min(call, len(noted) - 1)][attribute])
        return list({id(one): one for one in found}.values())


def survey(
    model: nn.Module,
    call: Callable[[], Any],
    losses: Callable[[Any], Tensor],
    opened: Mapping[str, nn.Module],
    memory: int | None = None,
) -> OwnRun:
    """Run the model as it is, and see all that it calls.

    What is wrong with the losses is kept as the run's problem: where it began can only be seen inside the recurrences.

    Args:
        model: The model.
        call: Calls it.
        losses: From its output.
        opened: The recurrent modules that will be opened, by name.
        memory: Bytes that autograd's graphs of them may take; see `checkpointed`.
    """
    watch, substitution = Watch(model), Substitution()
    with checkpointed(opened, memory, substitution), _outputs(model) as (outputs, weights), substitution, watch:
        output = call()
    found, problem = torch.zeros(0), None
    try:
        found = losses(output)
    except ExaminationError as error:
        problem = error
    return OwnRun(outputs, weights, found, problem, watch.calls, substitution.detached)


def reconnected_run(
    model: nn.Module,
    losses: Callable[[], Tensor],
    reconnected: frozenset[int],
    opened: Mapping[str, nn.Module],
    memory: int | None = None,
) -> OwnRun:
    """Run the model as it is, but for some of its detaches, which leave the graph whole."""
    substitution = Substitution(reconnected)
    with checkpointed(opened, memory, substitution), _outputs(model) as (outputs, weights), substitution:
        return OwnRun(outputs, weights, losses())


@contextmanager
def _outputs(model: nn.Module) -> Iterator[tuple[dict[str, list[Tensor]], dict[str, list[dict[str, Tensor]]]]]:
    """The outputs of all recurrent modules that run inside, and the weights that they worked with."""
    outputs: dict[str, list[Tensor]] = {}
    weights: dict[str, list[dict[str, Tensor]]] = {}
    with ExitStack() as stack:
        forwards: dict[nn.Module, Callable[..., Any]] = {}
        for name, module in named_modules(model):
            if isinstance(module, (*RECURRENT_MODULES, *SINGLE_STEP_MODULES)):
                outputs[name], weights[name] = [], []
                noted = stack.enter_context(noting_weights(module)) if isinstance(module, Recurrent) else None
                forwards[module] = _keeping(module, outputs[name], weights[name], noted)
        # Not a hook, past which a model may call the forward function, and which sees what the user's hooks have made.
        stack.enter_context(replaced(forwards))
        yield outputs, weights


def _check_not_empty(input: object) -> None:
    if isinstance(input, Tensor) and 0 in input.shape:
        raise ExaminationError(
            f"inputs: a recurrence is called with an empty sequence, shape {tuple(input.shape)}; expected at least "
            "one step and one sample"
        )


def _keeping(
    module: nn.Module, outputs: list[Tensor], weights: list[dict[str, Tensor]], noted: dict[str, Tensor] | None
) -> Callable[..., Any]:
    own = vars(module).get("forward") or partial(own_kind(module).forward, module)

    def forward(*arguments: Any, **keywords: Any) -> Any:
        if isinstance(module, RECURRENT_MODULES):
            _check_not_empty(arguments[0] if arguments else keywords.get("input"))
        output = own(*arguments, **keywords)
        weights.append(weights_of(module) if noted is None else dict(noted))
        # A layer returns its sequence and its state; a cell its state, or its states.
        sequence: Tensor | PackedSequence = output if isinstance(output, Tensor) else output[0]
        outputs.append(sequence if isinstance(sequence, Tensor) else sequence.data)
        return output

    return forward


def _summed(ones: Sequence[Tensor], found: Mapping[int, Tensor | None]) -> Tensor:
    gradients = [gradient for one in ones if (gradient := found.get(id(one))) is not None]
    return (torch.stack(gradients).sum(0) if gradients else torch.zeros_like(ones[0])).cpu()
