"""The functions that an RNN's new state may go through, by torch's names."""

from throughtime.cells.functions import relu, tanh

NONLINEARITIES = {"tanh": tanh, "relu": relu}


def known_nonlinearity(name: str) -> str:
    """The name, if it is one of them.

    Raises:
        ValueError: It is not.
    """
    if name not in NONLINEARITIES:
        raise ValueError(f"nonlinearity: expected one of {sorted(NONLINEARITIES)}, found {name!r}")
    return name
