"""The functions of somebody else's equations, from torch's operations to lines of a kernel.

A function made by `throughtime.elementwise` is a value and a slope on tensors. Both are traced on a single number; what
they do to it, operation by operation, is written as Python for one number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions, get_decompositions
from torch.fx import Node
from torch.fx.experimental.proxy_tensor import make_fx

# By torch's operation, what it is for numbers; a dot stands for the overloads.
OPERATIONS = {
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "rsub": "{1} - {0}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "pow": "{0} ** {1}",
    "neg": "-{0}",
    "abs": "abs({0})",
    "reciprocal": "real(1) / {0}",
    "rsqrt": "real(1) / math.sqrt({0})",
    # NaN stays NaN.
    "maximum": "({0} if {0} >= {1} or {0} != {0} else {1})",
    "minimum": "({0} if {0} <= {1} or {0} != {0} else {1})",
    "clamp": "({1} if {0} < {1} else {2} if {0} > {2} else {0})",
    "clamp_min": "({1} if {0} < {1} else {0})",
    "clamp_max": "({1} if {0} > {1} else {0})",
    "sign": "(real(1) if {0} > 0 else real(-1) if {0} < 0 else {0})",
    "where": "({1} if {0} else {2})",
    "gt": "{0} > {1}",
    "ge": "{0} >= {1}",
    "lt": "{0} < {1}",
    "le": "{0} <= {1}",
    "eq": "{0} == {1}",
    "ne": "{0} != {1}",
    "logical_and": "({0} and {1})",
    "logical_or": "({0} or {1})",
    "logical_not": "not {0}",
    "full_like": "{1}",
    "full": "{1}",
    "scalar_tensor": "{0}",
    "_to_copy": "real({0})",
} | dict.fromkeys(("clone", "detach", "alias", "lift_fresh_copy"), "{0}")
OPERATIONS |= {
    name: f"math.{name}({{0}})"
    for name in (
        *("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh"),
        *("asinh", "acosh", "atanh", "erf"),
    )
}
# Those that kernels have anyway.
KNOWN = ("sigmoid", "tanh", "relu")
OPERATIONS |= {name: f"{name}({{0}})" for name in KNOWN}


def written(name: str, function: Callable[[Tensor], Tensor]) -> str:
    """A function of tensors as the source of one of numbers.

    Args:
        name: Its name in the source.
        function: Of a tensor, element by element, without decisions in Python on its numbers.

    Raises:
        ValueError: It cannot be traced, or does what no kernel does; the message says what.
    """
    try:
        with torch.no_grad():
            traced = make_fx(lambda a: function(a), _simpler())(torch.tensor(0.5, dtype=torch.float64))
    except Exception as error:
        raise ValueError(f"it cannot be traced: {error}") from error
    names: dict[Node, str] = {}
    lines = []
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            names[node] = "a"
        elif node.op == "get_attr":
            names[node] = _number(float(getattr(traced, str(node.target))))
        elif node.op == "output":
            lines.append(f"return {_argument(node.args[0], names)}")
        else:
            names[node] = f"v{len(lines) + 1}"
            lines.append(f"{names[node]} = {_line(node, names)}")
    body = "\n".join(f"    {line}" for line in lines)
    return f"\n\n@inlined\ndef {name}(a):\n{body}\n"


@cache
def _simpler() -> dict[Any, Any]:
    """Operations that are made of simpler ones."""
    aten = torch.ops.aten
    kept_as_one = (aten.elu, aten.gelu, aten.leaky_relu, aten.hardtanh, aten.hardsigmoid, aten.hardswish)
    return {**core_aten_decompositions(), **get_decompositions(kept_as_one)}


def _line(node: Node, names: dict[Node, str]) -> str:
    operation = str(node.target).split(".")[1] if "aten." in str(node.target) else str(node.target)
    pattern = OPERATIONS.get(operation)
    if pattern is None or (set(node.kwargs) & {"alpha", "rounding_mode"}):
        raise ValueError(f"it calls {node.target}, which no kernel has")
    given = [_argument(argument, names) for argument in node.args]
    arguments: tuple[Any, ...] = node.args
    if operation == "pow" and arguments[1] in (2, 3, 4):
        return " * ".join([given[0]] * int(arguments[1]))
    if operation == "clamp":
        ends = [*arguments[1:], None, None][:2]
        given[1:] = [
            _number(end if end is not None else no) for end, no in zip(ends, (-math.inf, math.inf), strict=True)
        ]
    return pattern.format(*given)


def _argument(argument: Any, names: dict[Node, str]) -> str:
    if isinstance(argument, Node):
        return names[argument]
    return _number(argument) if isinstance(argument, int | float) else str(argument)


def _number(number: float) -> str:
    return f"real({float(number)!r})" if math.isfinite(number) else f"real(float('{number}'))"
