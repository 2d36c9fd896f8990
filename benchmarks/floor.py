"""The bare sweep against the machine's matrix products, counted in minimal operations."""

from rich.table import Table

from benchmarks.network import Network
from benchmarks.timing import agree, product_rate, side_by_side
from throughtime.cells import GRU, LSTM, RNN, Gated

STEPS, BATCH = 1000, 8
SIZES = (128, 256)


def table() -> Table:
    """Seconds, and the part of the rate of a plain product that the sweep reaches."""
    shown = Table("cell", "H", "sweep, s", "of sgemm", title=f"The bare sweep, T = {STEPS}, B = {BATCH}, all sources")
    for cell in (RNN(), Gated(), GRU(), LSTM()):
        check(Network.drawn(cell, 60, 2, 16))
        for hidden in SIZES:
            network = Network.drawn(cell, STEPS, BATCH, hidden)
            seconds = side_by_side({"sgemm": product_rate(), "sweep": network.swept})
            rate = 2 * 2048**3 / seconds["sgemm"]
            part = network.minimal_operations / seconds["sweep"] / rate
            shown.add_row(type(cell).__name__, str(hidden), f"{seconds['sweep']:.2f}", f"{part:.0%}")
    return shown


def check(network: Network) -> None:
    """The sweep's map against one backward pass per loss."""
    from benchmarks.peers import passes

    found = network.swept(keep=True)
    assert found is not None
    agree(f"bare sweep, {network.cell}", found, passes(network), 1e-3)
