"""The loops of a model run: their states as the graph holds them, and a copy of every weight for every call."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

from throughtime.capture.candidate import Candidate
from throughtime.capture.errors import FORWARDS, ExaminationError, NotFiniteError
from throughtime.capture.graph import leaves_behind
from throughtime.capture.loops import sequences, visited
from throughtime.capture.modules import named_modules
from throughtime.capture.places import is_transformed, outer_name, same, within_transforms
from throughtime.capture.recurrence import Loop, Recurrence
from throughtime.capture.substitution import Substitution
from throughtime.capture.watch import Call, Key, Watch

# A weight and the copy that is used in its place.
Uses = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class _Chain:
    """The calls that one sequence went through.

    Args:
        name: Of the recurrence.
        candidate: What was called.
        calls: In the order of the steps.
        states: By state, s_0 .. s_T.
        used: For every step, what weights it works with.
    """

    name: str
    candidate: Candidate
    calls: Sequence[Call]
    states: dict[str, list[Tensor | None]]
    used: list[Uses]


class LoopWatch:
    """Watches the loops of one model run, as a context manager.

    Every torch function works with copies of the weights. Inside a call that is followed there is one copy for the
    call; around a loop without a function of its own, one for every use, and the step that it belongs to is the one
    whose states were computed from it. So the gradients of the copies are the immediate derivatives. A state that the
    loop starts from and that needs no gradient is stood in for by one that does.

    Args:
        model: The model.
        candidates: What is watched.
        substitution: What replaces tensors while the model runs.
    """

    def __init__(self, model: nn.Module, candidates: Sequence[Candidate], substitution: Substitution) -> None:
        self._model, self._substitution = model, substitution
        self._names = {id(value): name for name, value in model.named_parameters()}
        self._watch: Watch | None = None
        self._by_key: dict[Key, Candidate] = {one.key: one for one in candidates}
        self._inline = any(one.inline for one in candidates)
        self._open: list[Call] = []
        # By call, and by weight, the copy that it works with; the weights of all other uses likewise.
        self._copies: defaultdict[Call, dict[int, tuple[Tensor, Tensor]]] = defaultdict(dict)
        self._uses: Uses = []
        self._times: dict[Call, int] = {}
        # What stands in for states to start from, and by call and place, what stood in there.
        self._starts: dict[int, tuple[Tensor, Tensor]] = {}
        self._began_from: dict[tuple[Call, str], Tensor] = {}
        # Of these, what torch.func has worked with besides, past all that stands in.
        self._passed: set[int] = set()

    def __enter__(self) -> LoopWatch:
        if self._by_key:
            self._substitution.stand_in = self._stand_in
            self._watch = Watch(self._model, frozenset(self._by_key), self._variables, self._began, self._ended)
            self._watch.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._substitution.stand_in = None
        if self._watch is not None:
            self._watch.__exit__(*error)

    def first_not_finite(self) -> NotFiniteError | None:
        """Where NaN or inf arose first in the loops that have run so far."""
        try:
            self.recurrences()
        except NotFiniteError as error:
            return error
        except ExaminationError:
            return None
        return None

    def recurrences(self) -> list[Recurrence]:
        """All loops that ran, one for every sequence that something was called through."""
        found: list[tuple[str, Candidate, Sequence[Call], dict[str, list[Tensor | None]]]] = []
        numbers: Counter[str] = Counter()
        for candidate in self._by_key.values():
            calls = [call for call in self._calls if candidate.made(call)]
            # A call that no other continues is no recurrence.
            for chain in (chain for chain in sequences(candidate, calls) if len(chain) > 1):
                numbers[candidate.name] += 1
                number = numbers[candidate.name]
                name = f"{candidate.name}#{number}" if number > 1 else candidate.name
                found.append((name, candidate, chain, self._visited(name, candidate, chain)))
        every = {value.grad_fn for *_, states in found for one in states.values() for value in one if value is not None}
        made = [_Chain(*one, self._used(*one[1:], every)) for one in found]
        inside = {id(copy) for chain in made for step in chain.used for _, copy in step}
        return [self._loop(chain, inside) for chain in made]

    @property
    def _variables(self) -> frozenset[str]:
        """The variables that hold states, of the functions around loops."""
        inline = (one for one in self._by_key.values() if one.inline)
        return frozenset(outer_name(state.entering) for one in inline for state in one.states)

    @property
    def _calls(self) -> list[Call]:
        return [] if self._watch is None else self._watch.calls

    def _began(self, call: Call) -> None:
        candidate = self._by_key[call.callee.key]
        self._times[call] = next(self._substitution.clock)
        if candidate.inline:
            return
        self._open.append(call)
        self._starts.clear()
        for state in candidate.states:
            start = call.received.get(state.entering)
            if start is not None:
                self._start(start)
                if id(start) in self._starts:
                    self._began_from[call, state.entering] = self._starts[id(start)][1]

    def _ended(self, call: Call) -> None:
        if self._open and self._open[-1] is call:
            self._open.pop()

    def _stand_in(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, nn.Parameter) and tensor.is_floating_point():
            if self._open:
                copies = self._copies[self._open[-1]]
                if id(tensor) not in copies:
                    copies[id(tensor)] = tensor, _leaf(tensor)
                return copies[id(tensor)][1]
            if self._inline:
                self._uses.append((tensor, _leaf(tensor)))
                return self._uses[-1][1]
            return tensor
        if is_transformed(tensor):
            given = within_transforms(tensor)
            self._passed |= {id(leaf) for start, leaf in self._starts.values() if same(start, given)}
            return tensor
        if tensor.requires_grad:
            return tensor
        if self._inline:
            self._start(tensor)
        return self._starts[id(tensor)][1] if id(tensor) in self._starts else tensor

    def _start(self, tensor: Tensor) -> None:
        if (
            not tensor.requires_grad
            and id(tensor) not in self._starts
            and (tensor.is_floating_point() or tensor.is_complex())
        ):
            self._starts[id(tensor)] = tensor, _leaf(tensor)

    def _visited(self, name: str, candidate: Candidate, chain: Sequence[Call]) -> dict[str, list[Tensor | None]]:
        states = visited(candidate, chain)
        for state, values in states.items():
            # What a state starts from may be handed on to another one.
            values[:] = [
                self._starts[id(value)][1] if value is not None and id(value) in self._starts else value
                for value in values
            ]
            entering = next(one.entering for one in candidate.states if one.name == state)
            values[0] = self._began_from.get((chain[0], entering), values[0])
            values[0] = None if id(values[0]) in self._passed else values[0]
            if candidate.inline:
                # What the model cut off is still the state that its losses have read.
                values[1:] = [
                    value if value is None else self._substitution.before_detach(value) for value in values[1:]
                ]
            _check(name, state, values)
        _check_finite(name, states)
        return states

    def _used(
        self,
        candidate: Candidate,
        chain: Sequence[Call],
        states: dict[str, list[Tensor | None]],
        every: Set[Any],
    ) -> list[Uses]:
        """For every step, the weights that it works with and the copies of them.

        Args:
            candidate: What was called.
            chain: Its calls.
            states: Its states.
            every: What the states of all loops came from.
        """
        if candidate.inline:
            return self._used_by_step(states, every)
        return [list(self._copies[call].values()) for call in chain]

    def _loop(self, chain: _Chain, inside: set[int]) -> Loop:
        candidate = chain.candidate
        weights = {id(weight): weight for step in chain.used for weight, _ in step}
        named = {self._local_name(candidate, weight): weight for weight in weights.values()}
        copies = {
            name: [tuple(copy for one, copy in step if one is weight) for step in chain.used]
            for name, weight in named.items()
        }
        uses = self._uses + [pair for of_call in self._copies.values() for pair in of_call.values()]
        outside = {
            name: (weight, *(copy for one, copy in uses if one is weight and id(copy) not in inside))
            for name, weight in named.items()
        }
        detached = tuple(
            step
            for step, call in enumerate(chain.calls)
            if step and any(self._substitution.was_reconnected(one) for one in self._entering(candidate, call))
        )
        entering = {state.entering for state in candidate.states}
        received = [one for place, one in chain.calls[0].received.items() if place not in entering and one.dim() == 2]
        samples = len(received[0]) if received else None
        kind = candidate.callee.kind
        if candidate.inline:
            owner = dict(named_modules(self._model)).get(candidate.callee.owner, self._model)
            kind = type(owner).__name__
        return Loop(
            chain.name,
            chain.states,
            copies,
            parameters=named,
            outside=outside,
            cell_name=kind,
            detached=detached,
            began=self._times[chain.calls[0]],
            samples=samples,
        )

    def _entering(self, candidate: Candidate, call: Call) -> list[Tensor]:
        places = call.caller if candidate.inline else call.received
        return [places[state.entering] for state in candidate.states if state.entering in places]

    def _used_by_step(self, states: dict[str, list[Tensor | None]], every: Set[Any]) -> list[Uses]:
        """For every step, the uses of weights that its states, and those of no other step, were computed from.

        What lies behind a state of another loop is that loop's.
        """
        by_copy = {id(copy): (weight, copy) for weight, copy in self._uses}
        reached: list[set[int]] = []
        entered: set[Any] = set()
        for before, after in pairwise(zip(*states.values(), strict=True)):
            found: set[int] = set()
            entered |= {value.grad_fn for value in before if value is not None and value.grad_fn is not None}
            for value in after:
                # What is only handed on, as a state of two steps ago, was not computed here.
                if value is not None and value.grad_fn not in entered:
                    found |= leaves_behind(value, every) & by_copy.keys()
            reached.append(found)
        counts: defaultdict[int, int] = defaultdict(int)
        for found in reached:
            for copy in found:
                counts[copy] += 1
        return [[by_copy[copy] for copy in sorted(found) if counts[copy] == 1] for found in reached]

    def _local_name(self, candidate: Candidate, weight: Tensor) -> str:
        """The name of a weight from where the loop is."""
        name = self._names.get(id(weight), "weight")
        module = candidate.name if candidate.callee.is_module and not candidate.inline else candidate.callee.owner
        return name.removeprefix(f"{module}.") if module else name


def _leaf(tensor: Tensor) -> Tensor:
    """The same numbers as the beginning of a graph; also where torch.func is at work, which begins none of its own."""
    with temporarily_clear_interpreter_stack():
        return tensor.detach().requires_grad_()


def _check_finite(name: str, states: Mapping[str, Sequence[Tensor | None]]) -> None:
    for step, values in enumerate(zip(*states.values(), strict=True)):
        for state, value in zip(states, values, strict=True):
            if value is not None and not value.isfinite().all():
                steps = len(next(iter(states.values()))) - 1
                raise NotFiniteError(name, step, steps, f"state {state}", FORWARDS)


def _check(name: str, state: str, values: Sequence[Tensor | None]) -> None:
    shapes = [tuple(value.shape) for value in values if value is not None]
    # Samples may end one after the other, the last ones first.
    ending = all(len(one) > 1 and one[1:] == shapes[0][1:] for one in shapes) and shapes == sorted(shapes, reverse=True)
    if len(set(shapes)) > 1 and not ending:
        found = " and ".join(map(str, sorted(set(shapes))))
        raise ExaminationError(
            f"model: the state {state} of recurrence {name!r} changes its shape between steps, found {found}; pad it, "
            "or name another module or function with recurrence="
        )
