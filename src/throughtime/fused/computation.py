"""What a kernel computes at every step, derived from a cell's equations: the same in whatever language it is written.

Forward, the states after a step are computed from its pre-activations and the states before it. Backward, only the
adjoint of the state goes from step to step; what a step passes to the weights is left in `grad_u`, for one product
after the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import sympy

from throughtime.cells import Cell, derive


@dataclass(frozen=True)
class Place:
    """Where a number of one sample and one unit stands.

    Args:
        array: Name of the array.
        gate: Of an array with several numbers a unit, one for each gate, which of them.
        gates: How many these are.
        of_sample: Whether every sample has its own.
        of_step: Whether every step has its own.
    """

    array: str
    gate: int = 0
    gates: int = 1
    of_sample: bool = True
    of_step: bool = True


@dataclass(frozen=True)
class Store:
    """What is left where.

    Args:
        place: Where.
        value: What, as source.
        added: Whether it is added to what is there.
    """

    place: Place
    value: str
    added: bool = False


TERMS = {
    "x": "W_ih x_t + b_ih of all steps, (time, batch, gates * units)",
    "u": "W_hh h_{t-1} + b_hh, left for the way back",
    "resets": "where a step starts from zeros",
    "h": "the hidden state as it goes from step to step, (batch, units)",
    "c": "the carried state, likewise",
    "..._before": "a state before every step, left for the way back",
    "..._steps": "a state after every step",
    "adjoint_...": "the derivative of the loss with respect to a state, as it goes from step to step",
    "grad_...": "its derivative with respect to what follows",
}

# How a language writes that it reads a place.
Read: TypeAlias = Callable[[Place], str]


class Computation:
    """What is computed for a cell.

    Args:
        cell: The equations.

    Attributes:
        recurrent: Whether there is a product with the hidden state, whose result `u` the way back needs too.
        entered: Whether the state enters unit by unit.
        saved: The states before every step that the way back needs, by name.
        summed: The gates whose x and u enter the equations only as their sum, which can be left for the way back in
            place of u.
        distinct: Whether the gradient at u is another one than at x.
        forward: What a step computes, by name, on symbols whose names are those of `loads`.
        backward: The same for a step of the way back.
        values: By state, the name in `forward` of what it becomes.
        gates: By the name of a pre-activation the gate that it belongs to.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell, derivation = cell, derive(cell)
        self._derivation = derivation
        self.recurrent, self.entered = cell.enters == "dense", cell.enters == "diagonal"
        self.saved = cell.states if self.recurrent else (cell.carried,)
        at_x, at_u, at_units = self._gradients()
        self.summed = tuple(gate for gate in at_u if at_u[gate] == at_x[gate]) if self.recurrent else ()
        self.distinct = self.recurrent and list(at_u.items()) != list(at_x.items())
        self.forward = {"after": derivation.new} | ({} if derivation.output is None else {"output": derivation.output})
        self.values = {state: "output" if state != cell.carried else "after" for state in cell.states}
        self.backward = self._adjoints() | {f"grad_x_{gate}": slope for gate, slope in at_x.items()}
        if self.distinct or self.entered:
            self.backward |= {f"grad_u_{gate}": slope for gate, slope in at_u.items()}
        self.backward |= {f"grad_units_{name}": slope for name, slope in at_units.items()} | {"carry": self._carry()}
        self.gates = {str(symbol): gate for by in (derivation.x, derivation.u) for gate, symbol in by.items()}

    def of_sums(self, computed: Mapping[str, Any]) -> dict[str, Any]:
        """`forward` or `backward`, where u of the gates that are `summed` is that sum already."""
        nothing = {self._derivation.x[gate]: 0 for gate in self.summed}
        return {name: sympy.sympify(value).subs(nothing) for name, value in computed.items()}

    @property
    def forward_arguments(self) -> list[str]:
        """Names of what the way forward is given, in order."""
        cell = self.cell
        return [
            *("reverse", "keeping", "lengths", "resets", "x"),
            *(["weight_hh", "bias_hh"] if self.recurrent else ["weight_hh"] if self.entered else []),
            *(f"weight_{name}" for name in cell.units),
            *cell.states,
            *(f"{state}_before" for state in self.saved),
            *(["u"] if self.recurrent else []),
            *(f"{state}_steps" for state in cell.states),
        ]

    @property
    def backward_arguments(self) -> list[str]:
        """Names of what the way back is given, in order."""
        cell = self.cell
        return [
            *("reverse", "lengths", "resets", "x"),
            *(["weight_hh"] if self.recurrent or self.entered else []),
            *(f"weight_{name}" for name in cell.units),
            f"{cell.carried}_before",
            *(["u"] if self.recurrent else []),
            *(f"grad_{state}_steps" for state in cell.states),
            *(f"adjoint_{state}" for state in cell.states),
            "grad_x",
            *(["grad_u"] if self.distinct else []),
            *(["grad_weight_hh"] if self.entered else []),
            *(f"grad_weight_{name}" for name in cell.units),
        ]

    @property
    def product(self) -> str:
        """Whose product with `weight_hh` is a part of the adjoint of h."""
        return "grad_u" if self.distinct else "grad_x"

    def terms(self, names: Iterable[str], others: Mapping[str, str] | None = None) -> str:
        """What names in a kernel stand for, one a line; by name, what is said otherwise there than in other kernels."""
        own, said = set(names), dict(others or {})
        terms = {name: what for name, what in (said | TERMS | said).items() if name in own or "..." in name}
        return "\n".join(f"{name + ':':<14} {what}" for name, what in terms.items())

    def loads(self, read: set[str], at: Read) -> list[str]:
        """Assignments of what the equations read.

        Args:
            read: The names.
            at: How a place is read.
        """
        cell = self.cell
        own = {"before": at(self._before)}
        own |= {f"x_{gate}": at(place) for gate, place in self._by_gate("x").items()}
        entering = self._by_gate("weight_hh", of_sample=False, of_step=False)
        own |= {f"enter_{gate}": at(place) for gate, place in entering.items()}
        for gate, place in self._by_gate("u").items():
            own[f"u_{gate}"] = at(place) if self.recurrent else f"enter_{gate} * before"
        own |= {f"units_{name}": at(Place(f"weight_{name}", of_sample=False, of_step=False)) for name in cell.units}
        whole = ("adjoint",) if len(cell.states) == 1 else tuple(f"adjoint_of_{state}" for state in cell.states)
        for name, state in zip(whole, cell.states, strict=True):
            own[name] = f"{at(_on_the_way(f'adjoint_{state}'))} + {at(Place(f'grad_{state}_steps'))}"
        if self.entered and any(f"u_{gate}" in read for gate in cell.entered):
            read = read | {"before"} | {f"enter_{gate}" for gate in cell.entered if f"u_{gate}" in read}
        return [f"{name} = {place}" for name, place in own.items() if name in read]

    def stores(self, at: Read) -> list[Store]:
        """What a step of the way back leaves, but for the adjoint of h where h is not carried: that becomes zero."""
        cell = self.cell
        stores = [Store(place, f"grad_x_{gate}") for gate, place in self._by_gate("grad_x").items()]
        if self.distinct:
            stores += [Store(place, f"grad_u_{gate}") for gate, place in self._by_gate("grad_u").items()]
        if self.entered:
            stores += [
                Store(place, f"grad_u_{gate} * {at(self._before)}", added=True)
                for gate, place in self._by_gate("grad_weight_hh", of_step=False).items()
            ]
        stores += [Store(_on_the_way(f"grad_weight_{name}"), f"grad_units_{name}", added=True) for name in cell.units]
        return [*stores, Store(_on_the_way(f"adjoint_{cell.carried}"), "carry")]

    @property
    def _before(self) -> Place:
        return Place(f"{self.cell.carried}_before")

    def _by_gate(self, array: str, **of: bool) -> dict[str, Place]:
        """The places of all gates, or of those that the state enters, in an array."""
        gates = self.cell.gates if array in ("x", "grad_x") else self.cell.entered
        return {gate: Place(array, number, len(gates), **of) for number, gate in enumerate(gates)}

    def _gradients(self) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """At x and u by gate and at the learned vectors: those of the new carried state and of the output."""
        update, hidden = self._derivation.update, self._derivation.hidden
        found = []
        for kind, names in (("input", self.cell.gates), ("recurrent", self.cell.entered), ("units", self.cell.units)):
            through_output: Mapping[str, Any] = {} if hidden is None else getattr(hidden, kind)
            slopes = getattr(update, kind)
            found.append(
                {name: ADJOINT * slopes.get(name, 0) + ADJOINT_H * through_output.get(name, 0) for name in names}
            )
        return tuple(found)  # type: ignore[return-value]

    def _adjoints(self) -> dict[str, Any]:
        """The whole adjoint of the carried state, and the new state where the derivatives of the output are at it."""
        hidden, derivation = self._derivation.hidden, self._derivation
        read = _symbol(f"adjoint_of_{self.cell.carried}")
        if hidden is None:
            return {}
        return {"after": derivation.new, "adjoint": read + ADJOINT_H * hidden.carried}

    def _carry(self) -> Any:
        """What goes on to the carried state before the step, without the product."""
        carry = ADJOINT * self._derivation.update.carried
        if self.entered:
            carry += sum(_symbol(f"grad_u_{gate}") * _symbol(f"enter_{gate}") for gate in self.cell.entered)
        return carry


def _symbol(name: str) -> sympy.Symbol:
    return sympy.Symbol(name, real=True)


ADJOINT, ADJOINT_H = _symbol("adjoint"), _symbol("adjoint_of_h")


def _on_the_way(array: str) -> Place:
    """What goes from step to step."""
    return Place(array, of_step=False)
