"""The verdicts, and the one call that asks them all."""

import xarray as xr

from throughtime.findings import (
    closed_gate,
    dead_relu,
    exploding,
    gates_stuck_open,
    healthy,
    padding_dominated,
    readout_bound,
    saturated,
    tiny_state,
    truncated,
    underflow,
    vanishing,
)
from throughtime.findings.finding import Finding
from throughtime.findings.measured import Measured

# Every illness, in the order in which it is told. Each is a small function from the measures to a finding or nothing.
_MEMBERS = (
    readout_bound,
    tiny_state,
    exploding,
    # Where all units are dead, that is why the gradient vanishes.
    dead_relu,
    vanishing,
    saturated,
    closed_gate,
    gates_stuck_open,
    truncated,
    padding_dominated,
    underflow,
)
ILLNESSES = tuple(member.VERDICT for member in _MEMBERS)
VERDICTS = (*ILLNESSES, healthy.VERDICT)


def findings(name: str, measures: xr.Dataset, causes: xr.Dataset) -> tuple[Finding, ...]:
    """The verdicts on one recurrence, with their evidence; "healthy" where there is no illness.

    Args:
        name: Of the recurrence.
        measures: Its measures; without a share of the gradient, no loss was followed, and the evidence says so.
        causes: Its causes.
    """
    measured = Measured(name, measures, causes)
    found = [finding for member in _MEMBERS if (finding := member.finding(measured)) is not None]
    return tuple(found) or (healthy.finding(measured),)
