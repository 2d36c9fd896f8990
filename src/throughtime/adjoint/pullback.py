"""The step pullback: from the adjoint of s_i to the adjoints of the pre-activations and of s_{i-1}."""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.cells import Cell, Named, Partial, derive
from throughtime.notation import OUTPUT_GATE
from throughtime.unroll import Trajectory, Weights

# In operations of a large matrix product: what it costs to read, change and write one number. Measured on two AVX2
# cores (0.3 ns against 130 Gflop/s); `benchmarks/ways.py` compares the choice that rests on it with both ways.
OPERATIONS_PER_NUMBER = 40


# What slopes are multiplied with: the adjoints of the new carried state, of the cell's output, and of its projection.
UPDATE, OUTPUT, PROJECTION = "update", "output", "projection"

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
    """

    def __init__(self, cell: Cell, weights: Weights, trajectory: Trajectory) -> None:
        self.cell, self.weights, self.trajectory = cell, weights, trajectory
        self.two_states = cell.carried != "h"
        self._recurrent_weights = weights.by_gate(cell)
        derivation = derive(cell)
        self.update = self._where_running(derivation.evaluate_update(*self._arguments))
        self.hidden = self._where_running(derivation.evaluate_hidden(*self._arguments)) if self.two_states else None
        # Where x.g and u.g enter every equation only as their sum, their slopes are the same.
        self.one_pre_activation = cell.entered == cell.gates and all(
            partial is None or dict(partial.recurrent) == dict(partial.input)
            for partial in (derivation.update, derivation.hidden)
        )
        # Where the gates see the carried state unit by unit, h passes nothing on.
        self.unit_by_unit = cell.enters == "diagonal"
        self._carry = self._along_carried(self.update, self.update.carried)
        self._output_carry = self._along_carried(self.hidden, None) if self.hidden is not None else None

    @property
    def _arguments(self) -> tuple[Named, Named, Tensor, Tensor, Named]:
        cell, trajectory = self.cell, self.trajectory
        x, u = cell.split(trajectory.input_pre), cell.split_recurrent(trajectory.recurrent_pre)
        return x, u, trajectory.before(cell.carried), trajectory.states[cell.carried][1:], self.weights.units

    @cached_property
    def paths(self) -> dict[str, Partial]:
        """The update's derivatives by path, along the whole trajectory."""
        evaluated = derive(self.cell).evaluate_paths
        found = {path: self._where_running(evaluate(*self._arguments)) for path, evaluate in evaluated.items()}
        return {path: self._where_passing(partial) for path, partial in found.items()}

    def previous_hidden(
        self, step: int, adjoint: Named, into: Float[Tensor, "source batch projected"] | None = None
    ) -> Float[Tensor, "source batch projected"]:
        """What reaches h_{step-1} through the step; for a cell with one state that is all of s_{step-1}.

        Args:
            step: The step.
            adjoint: Of s_step, by state.
            into: Where to write it, laid out by sample as `rows_by_sample` does.
        """
        carried = adjoint[self.cell.carried]
        if into is None:
            projected = self.trajectory.states["h"].shape[-1]
            into = rows_by_sample(carried, len(carried), carried.shape[1], projected)
        self._through(self.update, step, carried, into, add=False)
        if self.hidden is not None and not self.unit_by_unit:
            self._through(self.hidden, step, self.output(adjoint["h"]), into, add=True)
        return self._stopped_(step, into)

    def previous_carried_(self, step: int, adjoint: Named) -> None:
        """What reaches c_{step-1} of a cell with two states, but for its effect on h_{step-1}, in place of c_step's.

        Args:
            step: The step.
            adjoint: Of s_step, by state.
        """
        carried = adjoint[self.cell.carried]
        if self._carry is None:
            carried.zero_()
        else:
            carried *= self._carry[step - 1]
        if self._output_carry is not None:
            carried.addcmul_(self.output(adjoint["h"]), self._output_carry[step - 1])
        self._stopped_(step, carried)

    def carried_from_hidden(
        self, steps: Int[Tensor, " source"], hidden: Float[Tensor, "source batch projected"]
    ) -> Tensor:
        """The part of the adjoint of c_step that comes from h_step. The initial c_0 has no effect on h_0.

        Args:
            steps: For every source, the step.
            hidden: The adjoints of h_step.
        """
        assert self.hidden is not None
        reached = (steps > 0).unsqueeze(-1).unsqueeze(-1)
        return self.output(hidden) * (self.hidden.carried[(steps - 1).clamp(min=0)] * reached)

    def add_from_hidden_(self, step: int, carried: Tensor, hidden: Tensor) -> None:
        """Add to the adjoint of c_step, in place, what comes from h_step, the same step for all sources."""
        assert self.hidden is not None
        if step > 0:
            carried.addcmul_(self.output(hidden), self.hidden.carried[step - 1])

    def output(self, hidden: Float[Tensor, "source batch projected"]) -> Float[Tensor, "source batch hidden"]:
        """The adjoint of the cell's output, from that of h: the same, but for a projection between the two."""
        return hidden if self.weights.weight_hr is None else hidden @ self.weights.weight_hr

    def vectors(self, adjoint: Named) -> Named:
        """What slopes are multiplied with: the adjoints of the new carried state, of the output, and of its projection.

        Args:
            adjoint: Of s_i, by state.
        """
        found = {UPDATE: adjoint[self.cell.carried]}
        if self.hidden is not None:
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
        partials = {UPDATE: self.update} | ({} if self.hidden is None else {OUTPUT: self.hidden})
        return {
            vector: {name: slope[places] for name, slope in getattr(partial, kind).items()}
            for vector, partial in partials.items()
        }

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

    def path_slopes(self, steps: Int[Tensor, " source"], adjoint: Named) -> dict[str, tuple[Tensor | None, Named]]:
        """By path, the adjoint scaled by the path's element-wise derivatives: for the state itself, and by gate.

        Shapes (source, batch, hidden). The products with W_hh are still to be taken: see `through_weights`.

        Args:
            steps: For every source, the step.
            adjoint: Of s_step, by state.
        """
        carried = adjoint[self.cell.carried]
        slopes = {path: _scaled(partial, steps, carried) for path, partial in self.paths.items()}
        if self.hidden is not None and self.hidden.recurrent:
            hidden = self._where_passing(self.hidden)
            slopes[OUTPUT_GATE] = (None, _scaled(hidden, steps, self.output(adjoint["h"]))[1])
        return slopes

    def through_weights(self, by_gate: Named) -> Tensor | None:
        """The sum over gates of v_g W_hg, or v_g * w_hg; None where no gate takes part."""
        total = None
        for gate, value in by_gate.items():
            weight = self._recurrent_weights[gate]
            product = value * weight if self.unit_by_unit else value @ weight
            total = product if total is None else total.add_(product)
        return total

    def _where_running(self, partial: Partial) -> Partial:
        """Zero where a sample rests in the padding: nothing passes there."""
        running = self.trajectory.running
        if running is None:
            return partial
        return partial.mapped(lambda slope: slope * running.unsqueeze(-1))

    def _where_passing(self, partial: Partial) -> Partial:
        """Zero where a step starts from zeros, whatever came before."""
        restarts = self.trajectory.restarts
        return partial if restarts is None else partial.mapped(lambda slope: slope * ~restarts.unsqueeze(-1))

    def _stopped_(self, step: int, adjoint: Tensor) -> Tensor:
        """Zero, in place, of samples that start from zeros at a step."""
        if self.trajectory.restarts is not None:
            adjoint *= ~self.trajectory.restarts[step - 1].unsqueeze(-1)
        return adjoint

    def _along_carried(self, partial: Partial, direct: Tensor | None) -> Tensor | None:
        """The element-wise derivative with respect to the carried state, through the gates that see it too."""
        gates = partial.recurrent.items() if self.unit_by_unit else ()
        for gate, slope in gates:
            through = slope * self._recurrent_weights[gate]
            direct = through if direct is None else direct + through
        return direct

    def _through(self, partial: Partial, step: int, adjoint: Tensor, into: Tensor, add: bool) -> None:
        """Write what passes from a vector to h_{step-1} into a tensor of the shape of its adjoint, or add it there."""
        by_gate = {} if self.unit_by_unit else partial.recurrent
        slopes = {gate: slope[step - 1] for gate, slope in by_gate.items()}
        carry = None if self.two_states or self._carry is None else self._carry[step - 1]
        if slopes and self._forming_pays(len(slopes), len(adjoint)):
            jacobian = self._formed(slopes, carry)
            if add:
                into.transpose(0, 1).baddbmm_(adjoint.transpose(0, 1), jacobian)
            else:
                torch.bmm(adjoint.transpose(0, 1), jacobian, out=into.transpose(0, 1))
            return
        if not add:
            into.zero_() if carry is None else torch.mul(adjoint, carry, out=into)
        rows = into.transpose(0, 1).view(-1, into.shape[-1])
        for gate, slope in slopes.items():
            rows.addmm_((adjoint * slope).transpose(0, 1).flatten(0, 1), self._recurrent_weights[gate])

    def _forming_pays(self, gates: int, sources: int) -> bool:
        """Whether a step Jacobian, once formed, saves all sources together more than it costs.

        Forming writes gates * H^2 numbers per sample. It saves every source the scaled adjoint of every gate and all
        products but one.
        """
        projected, hidden = next(iter(self._recurrent_weights.values())).shape[::-1]
        forming = gates * hidden * projected * OPERATIONS_PER_NUMBER
        saved = (gates - 1) * 2 * hidden * projected + gates * hidden * OPERATIONS_PER_NUMBER
        return forming < sources * saved

    def _formed(self, slopes: Mapping[str, Tensor], carry: Tensor | None) -> Float[Tensor, "batch hidden projected"]:
        """diag(carry) + sum over gates of diag(slope) W_g, one matrix per sample."""
        (first, slope), *rest = slopes.items()
        jacobian = slope.unsqueeze(-1) * self._recurrent_weights[first]
        for gate, slope in rest:
            jacobian.addcmul_(slope.unsqueeze(-1), self._recurrent_weights[gate])
        if carry is not None:
            jacobian.diagonal(dim1=-2, dim2=-1).add_(carry)
        return jacobian


def _scaled(partial: Partial, steps: Tensor, adjoint: Tensor) -> tuple[Tensor | None, Named]:
    direct = None if partial.carried is None else adjoint * partial.carried[steps - 1]
    return direct, {gate: adjoint * slope[steps - 1] for gate, slope in partial.recurrent.items()}


def rows_by_sample(like: Tensor, rows: int, batch: int, features: int) -> Float[Tensor, "rows batch features"]:
    """Room for rows that lie in memory by sample, so that one matrix a sample takes them in one batched product."""
    return like.new_empty(batch, rows, features).transpose(0, 1)
