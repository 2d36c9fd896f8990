"""The step pullback: from the adjoint of s_i to the adjoints of the pre-activations and of s_{i-1}."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from throughtime.adjoint.derivatives import OUTPUT, UPDATE, Derivatives, masked
from throughtime.cells import Cell, Named, Partial, derive
from throughtime.notation import OUTPUT_GATE
from throughtime.unroll import Trajectory, Weights

# In operations of a matrix product: what it costs to read, change and write one number. Measured on cores with AVX-512;
# `benchmarks/ways.py` compares the choice that rests on it with both ways.
OPERATIONS_PER_NUMBER = 15


# Beside the vectors of the equations, what slopes are multiplied with: the adjoint of the output's projection.
PROJECTION = "projection"

# What the equations of a cell see besides the carried state.
Kind: TypeAlias = Literal["input", "recurrent", "units"]


class Pullback:
    """The step pullbacks of one recurrence along its trajectory.

    Steps are numbered 1..T in reading order. An adjoint is a tensor (source, batch, hidden) per state, of h (source,
    batch, projected); for a cell that carries c, the adjoint of c_i is total: it contains c_i's effect on h_i.

    Args:
        cell: The equations.
        weights: Their weights.
        trajectory: Where the derivatives are taken.
        memory: Bytes that the derivatives may take; None for as many as they need.
    """

    def __init__(self, cell: Cell, weights: Weights, trajectory: Trajectory, memory: int | None = None) -> None:
        self.cell, self.weights, self.trajectory = cell, weights, trajectory
        self.two_states = cell.carried != "h"
        self._recurrent_weights = weights.by_gate(cell)
        derivation = derive(cell)
        self._derivatives = Derivatives(cell, weights, trajectory, memory)
        # Where x.g and u.g enter every equation only as their sum, their slopes are the same.
        self.one_pre_activation = cell.entered == cell.gates and all(
            partial is None or dict(partial.recurrent) == dict(partial.input)
            for partial in (derivation.update, derivation.hidden)
        )
        # Where the gates see the carried state unit by unit, h passes nothing on.
        self.unit_by_unit = cell.enters == "diagonal"
        # Whether the state opens an output gate.
        self._output_gated = derivation.hidden is not None and bool(derivation.hidden.recurrent)

    def stopping_at(self, steps: Bool[Tensor, " time"]) -> Pullback:
        """The same, with the same derivatives, where nothing passes back beyond some of the steps in any sample."""
        found, trajectory = copy.copy(self), self.trajectory
        restarts = steps.unsqueeze(1).expand(trajectory.inputs.shape[:2]).to(trajectory.inputs.device)
        if trajectory.restarts is not None:
            restarts = restarts | trajectory.restarts
        found.trajectory = replace(trajectory, restarts=restarts)
        return found

    def previous_hidden(
        self, step: int, adjoint: Named, into: Float[Tensor, "source batch projected"] | None = None
    ) -> tuple[Float[Tensor, "source batch projected"], Float[Tensor, "source batch"] | None]:
        """What reaches h_{step-1} through the step; for a cell with one state that is all of s_{step-1}.

        Its norms are returned with it, float64, where they were taken on the way; else None.

        Args:
            step: The step.
            adjoint: Of s_step, by state.
            into: Where to write it, laid out by sample as `rows_by_sample` does.
        """
        carried = adjoint[self.cell.carried]
        if into is None:
            projected = self.trajectory.states["h"].shape[-1]
            into = rows_by_sample(carried, len(carried), carried.shape[1], projected)
        norms = self._through(UPDATE, step, carried, into, add=False)
        if self.two_states and not self.unit_by_unit:
            norms = self._through(OUTPUT, step, self.output(adjoint["h"]), into, add=True)
        if self.trajectory.restarts is not None:
            return self._stopped_(step, into), None
        return into, norms

    def previous_carried_(self, step: int, adjoint: Named) -> None:
        """What reaches c_{step-1} of a cell with two states, but for its effect on h_{step-1}, in place of c_step's.

        Args:
            step: The step.
            adjoint: Of s_step, by state.
        """
        carried = adjoint[self.cell.carried]
        here, place = self._derivatives.stretch(step - 1)
        if here.carry is None:
            carried.zero_()
        else:
            carried *= here.carry[place]
        if here.output_carry is not None:
            carried.addcmul_(self.output(adjoint["h"]), here.output_carry[place])
        self._stopped_(step, carried)

    def carried_from_hidden(
        self, steps: Int[Tensor, " step"], hidden: Float[Tensor, "step source batch projected"]
    ) -> Float[Tensor, "step source batch hidden"]:
        """The part of the adjoint of c_step that comes from h_step. The initial c_0 has no effect on h_0.

        Args:
            steps: The steps.
            hidden: The adjoints of h_step.
        """
        reached = (steps > 0).view(-1, 1, 1).to(hidden.device)
        slope = self._derivatives.at((steps - 1).clamp(min=0))[OUTPUT].carried * reached
        return self.output(hidden) * slope.unsqueeze(1)

    def add_from_hidden_(self, step: int, carried: Tensor, hidden: Tensor) -> None:
        """Add to the adjoint of c_step, in place, what comes from h_step, the same step for all sources."""
        if step > 0:
            here, place = self._derivatives.stretch(step - 1)
            carried.addcmul_(self.output(hidden), here.partials[OUTPUT].carried[place])

    def output(self, hidden: Float[Tensor, "*source batch projected"]) -> Float[Tensor, "*source batch hidden"]:
        """The adjoint of the cell's output, from that of h: the same, but for a projection between the two."""
        return hidden if self.weights.weight_hr is None else hidden @ self.weights.weight_hr

    def vectors(self, adjoint: Named) -> Named:
        """What slopes are multiplied with: the adjoints of the new carried state, of the output, and of its projection.

        Args:
            adjoint: Of s_i, by state.
        """
        found = {UPDATE: adjoint[self.cell.carried]}
        if self.two_states:
            found[OUTPUT] = self.output(adjoint["h"])
        if self.weights.weight_hr is not None:
            found[PROJECTION] = adjoint["h"]
        return found

    def slopes(self, kind: Kind, places: int | slice | Tensor) -> dict[str, Named]:
        """By vector and gate, or learned vector, the element-wise derivatives with respect to what the equations see.

        The adjoint of x.g, u.g or a learned vector is the sum over `vectors` of vector * slope. What a vector does not
        depend on is left out.

        Args:
            kind: "input" for x, "recurrent" for u, "units" for the learned vectors.
            places: The step less one, for (batch, hidden), or several, for (step, batch, hidden).
        """
        if isinstance(places, int):
            here, place = self._derivatives.stretch(places)
            return _of(here.partials, kind, place)
        return _of(self._derivatives.at(places), kind)

    def input_pre(self, step: int, adjoint: Named) -> Float[Tensor, "source batch gates_hidden"]:
        """The adjoint of W_ih x_step + b_ih."""
        vectors, slopes = self.vectors(adjoint), self.slopes("input", step - 1)
        parts: Named = {}
        for vector, by_gate in slopes.items():
            for gate, slope in by_gate.items():
                part = vectors[vector] * slope
                parts[gate] = parts[gate] + part if gate in parts else part
        unseen = torch.zeros_like(vectors[UPDATE])
        return torch.cat([parts.get(gate, unseen) for gate in self.cell.gates], dim=-1)

    def path_slopes(self, steps: Int[Tensor, " step"], adjoint: Named) -> dict[str, tuple[Tensor | None, Named]]:
        """By path, the adjoint scaled by the path's element-wise derivatives: for the state itself, and by gate.

        Shapes (step, source, batch, hidden). The products with W_hh are still to be taken: see `through_weights`.

        Args:
            steps: The steps.
            adjoint: Of s_step for some sources, by state, (step, source, batch, hidden).
        """
        carried = adjoint[self.cell.carried]
        found = self._where_passing(self._derivatives.paths(steps - 1), steps - 1)
        slopes = {path: _scaled(partial, carried) for path, partial in found.items()}
        if self._output_gated:
            output = self._where_passing(self._derivatives.at(steps - 1), steps - 1)[OUTPUT]
            slopes[OUTPUT_GATE] = (None, _scaled(output, self.output(adjoint["h"]))[1])
        return slopes

    def through_weights(self, by_gate: Named) -> Tensor | None:
        """The sum over gates of v_g W_hg, or v_g * w_hg; None where no gate takes part."""
        total = None
        for gate, value in by_gate.items():
            weight = self._recurrent_weights[gate]
            product = value * weight if self.unit_by_unit else value @ weight
            total = product if total is None else total.add_(product)
        return total

    def _where_passing(self, found: dict[str, Partial], places: Tensor) -> dict[str, Partial]:
        """Zero where a step starts from zeros, whatever came before."""
        restarts = self.trajectory.restarts
        return found if restarts is None else masked(found, ~restarts[places])

    def _stopped_(self, step: int, adjoint: Tensor) -> Tensor:
        """Zero, in place, of samples that start from zeros at a step."""
        if self.trajectory.restarts is not None:
            adjoint *= ~self.trajectory.restarts[step - 1].unsqueeze(-1)
        return adjoint

    def _through(self, name: str, step: int, adjoint: Tensor, into: Tensor, add: bool) -> Tensor | None:
        """Write what passes from a vector to h_{step-1} into a tensor of the shape of its adjoint, or add it there.

        Returns the norms of what stands there then, where they were taken on the way.
        """
        here, place = self._derivatives.stretch(step - 1)
        if name not in here.products:
            if add:
                return None
            if name == OUTPUT or self.two_states or here.carry is None:
                into.zero_()
            else:
                torch.mul(adjoint, here.carry[place], out=into)
            return None
        products, gates = here.products[name], len(here.partials[name].recurrent)
        forming = products.formed_together or self._forming_pays(gates, adjoint.shape[0])
        by_sample = adjoint.transpose(0, 1), into.transpose(0, 1)
        norms = products.multiply(place, *by_sample, adding=add, formed=forming)
        return None if norms is None else norms.T

    def _forming_pays(self, gates: int, sources: int) -> bool:
        """Whether a step Jacobian, once formed, saves all sources together more than it costs.

        Forming writes gates * H^2 numbers per sample. It saves every source the scaled adjoint of every gate and all
        products but one.
        """
        projected, hidden = next(iter(self._recurrent_weights.values())).shape[::-1]
        forming = gates * hidden * projected * OPERATIONS_PER_NUMBER
        saved = (gates - 1) * 2 * hidden * projected + gates * hidden * OPERATIONS_PER_NUMBER
        return forming < sources * saved


def _scaled(partial: Partial, adjoint: Tensor) -> tuple[Tensor | None, Named]:
    """The slopes, (step, batch, hidden), times the adjoints of all sources at their step."""
    direct = None if partial.carried is None else adjoint * partial.carried.unsqueeze(1)
    return direct, {gate: adjoint * slope.unsqueeze(1) for gate, slope in partial.recurrent.items()}


def _of(partials: Mapping[str, Partial], kind: Kind, place: int | None = None) -> dict[str, Named]:
    """By vector, the slopes of one kind; at one place of those that there are."""
    return {
        vector: {name: slope if place is None else slope[place] for name, slope in getattr(partial, kind).items()}
        for vector, partial in partials.items()
    }


def rows_by_sample(like: Tensor, rows: int, batch: int, features: int) -> Float[Tensor, "rows batch features"]:
    """Room for rows that lie in memory by sample, so that one matrix a sample takes them in one batched product."""
    return like.new_empty(batch, rows, features).transpose(0, 1)
