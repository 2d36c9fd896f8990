"""All planted networks, the healthy ones first."""

from faults import data, gated, precision, single_state, stacked
from faults.planted import Planted

KINDS = (single_state, gated, stacked, data, precision)
HEALTHY: tuple[Planted, ...] = tuple(network for kind in KINDS for network in kind.HEALTHY)
ILL: tuple[Planted, ...] = tuple(network for kind in KINDS for network in kind.ILL)
SUITE = HEALTHY + ILL
