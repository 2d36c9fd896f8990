"""The element-wise derivatives of a recurrence along its trajectory, in stretches where they do not fit in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from throughtime.adjoint.step_products import TorchProducts
from throughtime.cells import Cell, Partial, derive
from throughtime.compiled import StepProducts
from throughtime.unroll import Trajectory, Weights

# What is derived: the new carried state, and the cell's output where that is another.
UPDATE, OUTPUT = "update", "output"


@dataclass(frozen=True)
class Stretch:
    """The derivatives at neighbouring steps.

    Args:
        places: Of the steps, less one.
        partials: By what is derived; of the output at fixed carried state.
        carry: Of the new carried state with respect to the old one, through gates that see it unit by unit too.
        output_carry: Of the output likewise.
        products: By what is derived, the products with its derivative with respect to h through the weights.
    """

    places: range
    partials: dict[str, Partial]
    carry: Tensor | None
    output_carry: Tensor | None
    products: Mapping[str, StepProducts | TorchProducts]


NOWHERE = Stretch(range(0), {}, None, None, {})


class Derivatives:
    """The derivatives of one recurrence.

    The states are all there is to be kept of a sequence: where the derivatives would take more memory than they may,
    those of a stretch of steps are made when the film, played backwards, meets it.

    Args:
        cell: The equations.
        weights: Their weights.
        trajectory: Where the derivatives are taken.
        memory: Bytes that they may take; None for as many as they need.
    """

    def __init__(self, cell: Cell, weights: Weights, trajectory: Trajectory, memory: int | None = None) -> None:
        self._cell, self._weights, self._trajectory = cell, weights, trajectory
        self._by_gate = weights.by_gate(cell)
        self._derivation = derive(cell)
        self._length = trajectory.steps
        if memory is not None:
            per_step = bytes_of_derivatives(cell, trajectory) // trajectory.steps
            self._length = max(1, min(self._length, memory // per_step))
        self._stretch = self._made(trajectory.steps) if self.whole else NOWHERE

    @property
    def whole(self) -> bool:
        """Whether they are kept along the whole trajectory."""
        return self._length == self._trajectory.steps

    def stretch(self, place: int) -> tuple[Stretch, int]:
        """Those around a step less one, and its place among them."""
        if place not in self._stretch.places:
            # Those before are gone before the next are made.
            self._stretch = NOWHERE
            self._stretch = self._made(place + 1)
        return self._stretch, place - self._stretch.places.start

    def at(self, places: slice | Tensor) -> dict[str, Partial]:
        """Those at any steps less one, (step, batch, hidden), by what is derived."""
        if self.whole:
            return _indexed(self._stretch.partials, places)
        return self._evaluated(places)

    def paths(self, places: Int[Tensor, " step"]) -> dict[str, Partial]:
        """Those of the update by path, at any steps less one, whatever came before."""
        arguments = (*self._trajectory.seen_by(self._cell, places), self._weights.units)
        found = {path: evaluate(*arguments) for path, evaluate in self._derivation.evaluate_paths.items()}
        return self._where_running(found, places)

    def _made(self, stop: int) -> Stretch:
        places = range(max(0, stop - self._length), stop)
        found = self._evaluated(slice(places.start, places.stop))
        carry = self._along_carried(found[UPDATE], found[UPDATE].carried)
        output_carry = self._along_carried(found[OUTPUT], None) if OUTPUT in found else None
        return Stretch(places, found, carry, output_carry, self._products(found, carry))

    def _products(self, found: Mapping[str, Partial], carry: Tensor | None) -> dict[str, StepProducts | TorchProducts]:
        if self._cell.enters == "diagonal":
            return {}
        products = StepProducts if self._trajectory.inputs.is_cpu else TorchProducts
        # What passes along the state itself is a part of the product where h is that state.
        direct = carry if self._cell.carried == "h" else None
        return {
            name: products(
                list(partial.recurrent.values()),
                [self._by_gate[gate] for gate in partial.recurrent],
                direct if name == UPDATE else None,
            )
            for name, partial in found.items()
            if partial.recurrent
        }

    def _evaluated(self, places: slice | Tensor) -> dict[str, Partial]:
        arguments = (*self._trajectory.seen_by(self._cell, places), self._weights.units)
        found = {UPDATE: self._derivation.evaluate_update(*arguments)}
        if self._cell.carried != "h":
            found[OUTPUT] = self._derivation.evaluate_hidden(*arguments)
        return self._where_running(found, places)

    def _where_running(self, found: Mapping[str, Partial], places: slice | Tensor) -> dict[str, Partial]:
        """Zero where a sample rests in the padding: nothing passes there."""
        running = self._trajectory.running
        if running is None:
            return dict(found)
        return masked(found, running[places])

    def _along_carried(self, partial: Partial, direct: Tensor | None) -> Tensor | None:
        """The derivative with respect to the carried state, through the gates that see it unit by unit too."""
        gates = partial.recurrent.items() if self._cell.enters == "diagonal" else ()
        for gate, slope in gates:
            through = slope * self._by_gate[gate]
            direct = through if direct is None else direct + through
        return direct


def bytes_of_derivatives(cell: Cell, trajectory: Trajectory) -> int:
    """Of those along a whole trajectory, and of what they are made through, a number a gate."""
    derivation, before = derive(cell), trajectory.states[cell.carried][0]
    partials = [derivation.update, *([] if derivation.hidden is None else [derivation.hidden])]
    count = sum(1 + len(one.recurrent) + len(one.input) + len(one.units) for one in partials)
    return (count + len(cell.gates)) * before.numel() * before.element_size() * trajectory.steps


def _indexed(partials: Mapping[str, Partial], places: slice | Tensor) -> dict[str, Partial]:
    return {name: partial.mapped(lambda slope: slope[places]) for name, partial in partials.items()}


def masked(partials: Mapping[str, Partial], mask: Tensor) -> dict[str, Partial]:
    """Zero where a mask, (step, batch), is not set."""
    return {name: partial.mapped(lambda slope: slope * mask.unsqueeze(-1)) for name, partial in partials.items()}
