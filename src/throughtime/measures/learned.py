"""The weights of a recurrence, as their terms need them: what their adjoints consist of, and what these multiply."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.adjoint import OUTPUT, PROJECTION, UPDATE, Kind, Pullback
from throughtime.cells import Named


@dataclass(frozen=True, eq=False)
class Slopes:
    """What the vectors of a frame are multiplied with to be the adjoint of something that the equations see.

    Args:
        parts: Its parts, in the order of the rows of the weight: gates, or the one learned vector.
        at: From steps less one to the slopes by vector and part, (step, batch, hidden); zeros are left out.
    """

    parts: tuple[str, ...]
    at: Callable[[slice | Tensor], dict[str, Named]]

    def stacked(
        self,
        places: Int[Tensor, " step"],
        rows: Float[Tensor, "step row batch vector hidden"],
        vectors: Sequence[str],
    ) -> tuple[Float[Tensor, "slope step batch hidden"], Int[Tensor, "2 slope"]]:
        """All slopes of some rows, and the numbers of the vector and of the part of each.

        Args:
            places: The steps less one.
            rows: What is multiplied with them.
            vectors: Names of the vectors.
        """
        found = self.at(places)
        by_vector = [found.get(name, {}) for name in vectors]
        which = [(v, p) for v, its in enumerate(by_vector) for p, part in enumerate(self.parts) if part in its]
        slopes = rows.new_empty(len(which), len(places), rows.shape[2], rows.shape[-1])
        for into, (v, p) in zip(slopes, which, strict=True):
            into.copy_(by_vector[v][self.parts[p]])
        return slopes, torch.tensor(which, dtype=torch.long).view(-1, 2).T.contiguous()

    def times(
        self,
        places: Int[Tensor, " step"],
        rows: Float[Tensor, "step batch row vector hidden"],
        vectors: Sequence[str],
    ) -> Float[Tensor, "step batch row part hidden"]:
        """The adjoint of every part: the sum over vectors of vector * slope.

        Args:
            places: The steps less one.
            rows: As many of every vector for each step and sample.
            vectors: Their names.
        """
        slopes, (*shape, _, hidden) = self.at(places), rows.shape
        adjoint = rows.new_empty(*shape, len(self.parts), hidden)
        for part, into in zip(self.parts, adjoint.unbind(-2), strict=True):
            factors = [slopes.get(vector, {}).get(part) for vector in vectors]
            found = [(rows[..., v, :], slope.unsqueeze(2)) for v, slope in enumerate(factors) if slope is not None]
            if not found:
                into.zero_()
                continue
            torch.mul(*found[0], out=into)
            for vector, slope in found[1:]:
                into.addcmul_(vector, slope)
        return adjoint


@dataclass(frozen=True)
class Learned:
    """A weight, or several that have the same terms.

    Its term of a sample is the outer product of an adjoint, sum over vectors of vector * slope, and a value; of a bias
    or a learned vector, the adjoint alone.

    Args:
        names: Of the weights.
        slopes: Of the adjoint.
        values: What a matrix is multiplied with.
    """

    names: tuple[str, ...]
    slopes: Slopes
    values: Float[Tensor, "time batch features"] | None


@dataclass(frozen=True)
class Family:
    """All weights whose adjoints consist of the same vectors.

    Args:
        vectors: Their names; see `Pullback.vectors`.
        weights: The weights.
    """

    vectors: tuple[str, ...]
    weights: tuple[Learned, ...]


def families(pullback: Pullback) -> tuple[Family, ...]:
    """The weights of a recurrence: those of the equations, and the projection if there is one."""
    cell, weights, trajectory = pullback.cell, pullback.weights, pullback.trajectory
    of_input = _seen(pullback, "input", cell.gates)
    of_state = of_input if pullback.one_pre_activation else _seen(pullback, "recurrent", cell.entered)
    found = [Learned(("weight_ih",), of_input, trajectory.inputs)]
    if weights.weight_hh is not None and pullback.unit_by_unit:
        found.append(Learned(("weight_hh",), _times_carried(pullback, of_state), None))
    elif weights.weight_hh is not None:
        found.append(Learned(("weight_hh",), of_state, trajectory.before("h")))
    biases = {"bias_ih": of_input} if weights.bias_ih is not None else {}
    biases |= {"bias_hh": of_state} if weights.bias_hh is not None else {}
    # Where both biases enter every equation as their sum, they are learned as one.
    for slopes in dict.fromkeys(biases.values()):
        found.append(Learned(tuple(name for name, its in biases.items() if its is slopes), slopes, None))
    for name in cell.units:
        found.append(Learned((f"weight_{name}",), _seen(pullback, "units", (name,)), None))
    vectors = (UPDATE, OUTPUT) if pullback.two_states else (UPDATE,)
    all_families = [Family(vectors, tuple(found))]
    if weights.weight_hr is not None:
        as_it_is = Slopes(
            ("h",), lambda places: {PROJECTION: {"h": torch.ones_like(trajectory.states["h"][1:][places])}}
        )
        all_families.append(Family((PROJECTION,), (Learned(("weight_hr",), as_it_is, trajectory.output),)))
    return tuple(all_families)


def _seen(pullback: Pullback, kind: Kind, parts: tuple[str, ...]) -> Slopes:
    def at(places: slice | Tensor) -> dict[str, Named]:
        found = pullback.slopes(kind, places)
        return {vector: {name: slopes[name] for name in parts if name in slopes} for vector, slopes in found.items()}

    return Slopes(parts, at)


def _times_carried(pullback: Pullback, slopes: Slopes) -> Slopes:
    """Where the state enters unit by unit, a weight's term is its gate's adjoint times the state that entered."""
    before = pullback.trajectory.before(pullback.cell.carried)

    def at(places: slice | Tensor) -> dict[str, Named]:
        entered = before[places]
        return {
            vector: {gate: slope * entered for gate, slope in by_gate.items()}
            for vector, by_gate in slopes.at(places).items()
        }

    return Slopes(slopes.parts, at)
