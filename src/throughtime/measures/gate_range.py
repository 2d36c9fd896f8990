"""The range of the gates: between which values what a cell keeps, writes and reads ever moves, unit by unit."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from throughtime.cells import Cell, Named, derive
from throughtime.notation import KEEP, READ, WRITE
from throughtime.unroll import Trajectory


def gate_range(
    cell: Cell, trajectory: Trajectory, units: Named | None = None
) -> dict[str, Float[Tensor, "bound unit"]]:
    """By role, the smallest and the largest size of a gate over all steps and samples, for every unit.

    The roles are those of the gated form, for all cells alike: "keep" and "write", and where the hidden state is an
    output of a carried one, "read", the slope dh_t/dc_t of that output: an LSTM's o_t (1 - tanh(c_t)^2), which is small
    where its output gate is closed and where c has run away. What is a constant and no gate is left out: the keep of an
    `AntisymmetricRNN` is 1 by its equations.

    Args:
        cell: The equations.
        trajectory: Where the gates are looked at; steps at which a sample rests do not count.
        units: The cell's learned vectors, by name.
    """
    found: dict[str, Tensor] = {}
    for stretch in trajectory.stretches():
        for role, values in _gates(cell, stretch, units):
            sizes, running = values.abs(), stretch.running
            if running is None:
                low, high = sizes.flatten(0, 1).aminmax(dim=0)
            else:
                low = sizes.masked_fill(~running.unsqueeze(-1), torch.inf).amin((0, 1))
                high = sizes.masked_fill(~running.unsqueeze(-1), 0).amax((0, 1))
            before = found.get(role, torch.stack([low, high]).double())
            found[role] = torch.stack([torch.minimum(before[0], low), torch.maximum(before[1], high)])
    return found


def _gates(cell: Cell, trajectory: Trajectory, units: Named | None) -> Iterator[tuple[str, Tensor]]:
    derivation = derive(cell)
    pre_activations = {*derivation.x.values(), *derivation.u.values()}
    before = trajectory.before(cell.carried)
    update = cell.update(trajectory.input_pre[:], trajectory.recurrent_pre[:], before, units)
    for role, expression in ((KEEP, derivation.keep), (WRITE, derivation.write)):
        if expression.free_symbols & pre_activations:
            yield role, getattr(update, role).expand_as(before)
    if derivation.hidden is not None:
        yield READ, derivation.evaluate_hidden(*trajectory.seen_by(cell), units).carried.expand_as(before)
