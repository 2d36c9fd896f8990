"""What a cell is: the names of its gates and one function, its equations in the gated form."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar, TypeAlias

from torch import Tensor

# One tensor per gate or per state, by its name.
Named: TypeAlias = dict[str, Tensor]


@dataclass(frozen=True)
class Update:
    """The gated form: carried_t = keep * carried_{t-1} + write * candidate, element-wise.

    Args:
        keep: The gate before the old state.
        write: The gate before the candidate.
        candidate: What may be written.
        output: Where the hidden state is not the carried state itself, the function from the new carried state to it.
    """

    keep: Any
    write: Any
    candidate: Any
    output: Callable[[Any], Any] | None = None

    def apply(self, carried: Any) -> tuple[Any, Any]:
        """The new hidden state and the new carried state; the same object twice where the cell has one state."""
        new = _product(self.keep, carried) + _product(self.write, self.candidate)
        return (new if self.output is None else self.output(new)), new


def _product(gate: Any, vector: Any) -> Any:
    """gate * vector, where a gate that is the plain number 0 or 1 costs nothing and passes on no inf * 0."""
    if isinstance(gate, int) and gate in (0, 1):
        return vector if gate else 0
    return gate * vector


class Cell(ABC):
    """A recurrent cell, written once, as its equations.

    A subclass names its gates, in the order of the rows of `weight_ih` and `weight_hh`, and defines `step`. The
    reference step, the derivatives, the paths of the step Jacobian and the LaTeX are derived from that one function.
    Every constructor argument of a cell must be hashable and kept under its own name: they are the cell's identity.

    Attributes:
        gates: One name per gate; gate k owns rows k H to (k + 1) H - 1 of the weights and biases.
        states: ("h",), or ("h", "c") where the hidden state is an output of the carried state c.
    """

    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]] = ("h",)

    @abstractmethod
    def step(self, x: Any, u: Any, carried: Any) -> Update:
        """One step in the gated form.

        Args:
            x: The input pre-activations by gate: x.r = W_ir x_t + b_ir.
            u: The recurrent pre-activations by gate: u.r = W_hr h_{t-1} + b_hr.
            carried: The state before the step: h_{t-1}, or c_{t-1} for a cell that carries c.

        Only element-wise operations and functions of `throughtime.cells.functions` may be used: the same lines run
        on tensors of shape (..., hidden) and on SymPy symbols.
        """

    @property
    def carried(self) -> str:
        """The name of the state that is carried from step to step: the last one."""
        return self.states[-1]

    def split(self, pre_activation: Tensor) -> Named:
        """The gates' parts of a tensor (..., gates * hidden)."""
        return dict(zip(self.gates, pre_activation.chunk(len(self.gates), dim=-1), strict=True))

    def update(self, x: Tensor, u: Tensor, carried: Tensor | None) -> Update:
        """The equations on tensors: pre-activations (..., gates * hidden), carried (..., hidden)."""
        return self.step(SimpleNamespace(**self.split(x)), SimpleNamespace(**self.split(u)), carried)

    def reference_step(self, x: Tensor, u: Tensor, carried: Tensor) -> tuple[Tensor, Tensor]:
        """The step on tensors: pre-activations (..., gates * hidden) and carried (..., hidden) to (h_t, carried_t)."""
        return self.update(x, u, carried).apply(carried)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), tuple(sorted(vars(self).items()))))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
