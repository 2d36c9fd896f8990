"""What a cell is: the names of its gates and one function, its equations in the gated form."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

# One tensor per gate or per state, by its name.
Named: TypeAlias = dict[str, Tensor]


# "weight_ih" and so on are matrices: no learned vector can be called so.
_WEIGHTS = ("ih", "hh", "hr")


@dataclass(frozen=True)
class Update:
    """The gated form: carried_t = keep * carried_{t-1} + write * candidate, element-wise.

    Args:
        keep: The gate before the old state.
        write: The gate before the candidate.
        candidate: What may be written.
        output: Where the hidden state is not the carried state itself, the function from the new carried state to it.
        held: What the keep gate stands before, where that is not the old state itself but a function of it.
    """

    keep: Any
    write: Any
    candidate: Any
    output: Callable[[Any], Any] | None = None
    held: Any = None

    def apply(self, carried: Any) -> tuple[Any, Any]:
        """The new hidden state and the new carried state; the same object twice where the cell has one state."""
        held = carried if self.held is None else self.held
        new = _product(self.keep, held) + _product(self.write, self.candidate)
        return (new if self.output is None else self.output(new)), new


def _split(gates: tuple[str, ...], rows: Tensor) -> Named:
    return dict(zip(gates, rows.chunk(len(gates), dim=-1), strict=True)) if gates else {}


def _product(gate: Any, vector: Any) -> Any:
    """gate * vector, where a gate that is the plain number 0 or 1 costs nothing and passes on no inf * 0."""
    if isinstance(gate, int) and gate in (0, 1):
        return vector if gate else 0
    return gate * vector


class ByName:
    """What a step sees as attributes: pre-activations by gate, learned vectors by name."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(self.__dict__) or "none"
        raise AttributeError(
            f"step: there is no {name!r} here, but {known}; gates are declared in `gates`, those that the state enters "
            "in `recurrent_gates`, and learned vectors in `units`"
        )


class Cell(ABC):
    """A recurrent cell, written once, as its equations.

    A subclass names its gates, in the order of the rows of `weight_ih` and `weight_hh`, and defines `step`. The
    reference step, the derivatives, the paths of the step Jacobian and the LaTeX are derived from that one function.
    Every constructor argument of a cell must be hashable and kept under its own name: they are the cell's identity.

    Attributes:
        gates: One name per gate; gate k owns rows k H to (k + 1) H - 1 of the weights and biases.
        states: ("h",), or ("h", "c") where the hidden state is an output of the carried state c.
        enters: How the state enters the gates. "dense": u = W_hh h_{t-1} + b_hh. "diagonal": u = w_hh * s_{t-1}, each
            unit by itself, with s the carried state; `weight_hh` is a vector and there is no `bias_hh`. "none": the
            gates see the input only, and there is neither.
        recurrent_gates: The gates that the state enters, which alone own rows of `weight_hh` and `bias_hh` and appear
            in u; None for all.
        units: Names of learned vectors with one number per unit, such as peepholes; the parameters `weight_{name}`.
        window: How many inputs the gates see: x_t is x_{t-window+1} .. x_t side by side, zeros before the first.
    """

    gates: ClassVar[tuple[str, ...]]
    states: ClassVar[tuple[str, ...]] = ("h",)
    enters: ClassVar[Literal["dense", "diagonal", "none"]] = "dense"
    recurrent_gates: ClassVar[tuple[str, ...] | None] = None
    units: ClassVar[tuple[str, ...]] = ()
    window: int = 1

    @abstractmethod
    def step(self, x: Any, u: Any, carried: Any) -> Update:
        """One step in the gated form.

        Args:
            x: The input pre-activations by gate: x.r = W_ir x_t + b_ir.
            u: The recurrent pre-activations by gate: u.r = W_hr h_{t-1} + b_hr; see `enters`.
            carried: The state before the step: h_{t-1}, or c_{t-1} for a cell that carries c.

        A cell with `units` gets these, by name, as a fourth argument.

        Only element-wise operations and functions of `throughtime.cells.functions` may be used: the same lines run
        on tensors of shape (..., hidden) and on SymPy symbols.
        """

    def check_declared(self) -> None:
        """What a class says of itself must be as it is described here.

        Raises:
            ValueError: It is not; what it is, and what was expected, is told.
        """
        gates = getattr(self, "gates", ())
        names = isinstance(gates, tuple) and all(isinstance(one, str) and one.isidentifier() for one in gates)
        expected: tuple[tuple[str, object, bool, str], ...] = (
            ("gates", gates, bool(names and gates) and len(set(gates)) == len(gates), "a tuple of different names"),
            ("states", self.states, self.states in (("h",), ("h", "c")), '("h",) or ("h", "c")'),
            ("enters", self.enters, self.enters in ("dense", "diagonal", "none"), '"dense", "diagonal" or "none"'),
        )
        entered = self.recurrent_gates
        some = entered is None or (isinstance(entered, tuple) and set(entered) <= set(gates))
        units = self.units
        learned = isinstance(units, tuple) and all(isinstance(one, str) and one.isidentifier() for one in units)
        learned = learned and len(set(units)) == len(units) and not set(units) & set(_WEIGHTS)
        expected = (
            *expected,
            ("recurrent_gates", entered, some, f"some of {gates}, or None"),
            ("units", units, bool(learned), f"a tuple of different names, and none of {', '.join(_WEIGHTS)}"),
        )
        for what, found, right, wanted in expected:
            if not right:
                raise ValueError(f"{what}: expected of a cell {wanted}, found {found!r} in {type(self).__name__}")
        for name, value in vars(self).items():
            try:
                hash(value)
            except TypeError:
                raise ValueError(
                    f"{name}: expected of a cell's own numbers and names that they can be hashed, found {value!r} in "
                    f"{type(self).__name__}; a tuple can be"
                ) from None

    @property
    def carried(self) -> str:
        """The name of the state that is carried from step to step: the last one."""
        return self.states[-1]

    @property
    def entered(self) -> tuple[str, ...]:
        """The gates that the state enters, in the order of the rows of `weight_hh`."""
        if self.enters == "none":
            return ()
        return self.gates if self.recurrent_gates is None else self.recurrent_gates

    def weight_shapes(
        self, input_size: int, hidden_size: int, bias: bool = True, projected: int | None = None
    ) -> dict[str, tuple[int, ...]]:
        """The weights of one recurrence, by torch's name, in torch's order.

        Args:
            input_size: Features of x_t.
            hidden_size: Units, H.
            bias: Whether there are biases.
            projected: Features of h_t; None for H.
        """
        rows, entered = len(self.gates) * hidden_size, len(self.entered) * hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, self.window * input_size)}
        if entered:
            shapes["weight_hh"] = (entered, projected or hidden_size) if self.enters == "dense" else (entered,)
        if bias:
            shapes["bias_ih"] = (rows,)
        if bias and entered and self.enters == "dense":
            shapes["bias_hh"] = (entered,)
        return shapes | {f"weight_{name}": (hidden_size,) for name in self.units}

    def made(self, weights: Named) -> Named:
        """The weights as they enter the equations, from the parameters that a layer holds: usually themselves.

        The weight terms of an examination are those of what is returned here, not of the parameters.
        """
        return weights

    def recurrent_pre(
        self, hidden: Tensor, carried: Tensor, weight_hh: Tensor | None, bias_hh: Tensor | None = None
    ) -> Tensor:
        """The recurrent pre-activations u, (..., recurrent gates * hidden).

        Args:
            hidden: h_{t-1}, (..., projected).
            carried: The carried state before the step, (..., hidden).
            weight_hh: None where the state does not enter the gates.
            bias_hh: None for zero.
        """
        if weight_hh is None:
            return carried[..., :0]
        if self.enters == "diagonal":
            return torch.cat([carried] * len(self.entered), dim=-1) * weight_hh
        return functional.linear(hidden, weight_hh, bias_hh)

    def split(self, pre_activation: Tensor) -> Named:
        """The gates' parts of a tensor (..., gates * hidden)."""
        return _split(self.gates, pre_activation)

    def split_recurrent(self, pre_activation: Tensor) -> Named:
        """The parts of a tensor (..., recurrent gates * hidden), by gate that the state enters."""
        return _split(self.entered, pre_activation)

    def update(self, x: Tensor, u: Tensor, carried: Tensor | None, units: Named | None = None) -> Update:
        """The equations on tensors.

        Args:
            x: (..., gates * hidden)
            u: (..., recurrent gates * hidden)
            carried: (..., hidden)
            units: By name, (hidden,).
        """
        pre_activations = ByName(self.split(x)), ByName(self.split_recurrent(u))
        return self.run(*pre_activations, carried, ByName(units or {}))

    def run(self, x: Any, u: Any, carried: Any, units: Any) -> Update:
        """The step, which gets its units only where the cell has any.

        Raises:
            TypeError: It returns no `Update`.
        """
        found = self.step(x, u, carried, *((units,) if self.units else ()))
        if not isinstance(found, Update):
            raise TypeError(
                f"step: expected {self!r} to return tt.Update(keep=, write=, candidate=), found {type(found).__name__}"
            )
        return found

    def reference_step(
        self, x: Tensor, u: Tensor, carried: Tensor, units: Named | None = None
    ) -> tuple[Tensor, Tensor]:
        """The step on tensors, shaped as for `update`, to (h_t, carried_t)."""
        return self.update(x, u, carried, units).apply(carried)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), tuple(sorted(vars(self).items()))))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
