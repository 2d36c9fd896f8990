"""The gated layer in its general form: each gate and the candidate is a recurrent layer of its own."""

from typing import Any

from throughtime.cells.cell import Cell, Update
from throughtime.cells.functions import sigmoid, tanh


class Gated(Cell):
    """h_t = keep_t * h_{t-1} + write_t * candidate_t, with two independent sigmoid gates and a tanh candidate."""

    gates = ("keep", "write", "candidate")

    def step(self, x: Any, u: Any, h: Any) -> Update:
        """The gated form itself, nothing coupled."""
        return Update(
            keep=sigmoid(x.keep + u.keep),
            write=sigmoid(x.write + u.write),
            candidate=tanh(x.candidate + u.candidate),
        )
