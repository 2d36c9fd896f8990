"""Padding-dominated: most of the gradient is sent to steps that hold no data."""

from throughtime.findings.finding import Finding, Number
from throughtime.findings.measured import Measured
from throughtime.findings.references import DWARAMPUDI

VERDICT = "padding-dominated"

# A part of the sum of squares: where it is more, the gradient is of the padding first and of the data second.
MOST = 0.5

REMEDIES = (
    "Pack the sequences (torch.nn.utils.rnn.pack_padded_sequence, enforce_sorted=False), or give Throughtime's layers "
    "their lengths=: what is not read takes no gradient.",
    "Read the state of each sample at its own last step, output[lengths - 1, arange(batch)], and leave the losses of "
    "the padding out of the sum.",
    "Fill up in front of the data instead of behind it, so that the gradient comes past the data first.",
    "Put sequences of like length into one batch, so that there is less to fill up.",
)


def finding(measured: Measured) -> Finding | None:
    """More than half of the squared gradient arrives at padding that is read after the data."""
    if "padding_share" not in measured.measures:
        return None
    share, padded = float(measured.measures["padding_share"]), float(measured.measures.attrs["padded"])
    if not share > MOST:
        return None
    evidence = (
        f"{share:.0%} of the squared gradient arrives at padding, inputs that only repeat after a sample has ended; "
        f"{padded:.0%} of all steps in the batch are such, and they are read like data."
    )
    numbers = (Number("padding_share", share, threshold=MOST), Number("padded", padded))
    return Finding(VERDICT, measured.name, 2, evidence, REMEDIES, DWARAMPUDI, numbers)
