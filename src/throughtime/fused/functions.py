"""The functions of somebody else's equations, from torch's operations to lines of a kernel.

A function made by `throughtime.elementwise` is a value and a slope on tensors. Both are traced on a single number; what
they do to it, operation by operation, is written in the kernel's language.
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

from throughtime.fused.languages import Language


def written(name: str, function: Callable[[Tensor], Tensor], language: Language) -> str:
    """A function of tensors as the source of one in a kernel.

    Args:
        name: Its name in the source.
        function: Of a tensor, element by element, without decisions in Python on its numbers.
        language: That of the kernel.

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
            names[node] = language.alone(float(getattr(traced, str(node.target))))
        elif node.op == "output":
            lines.append(f"return {_argument(node.args[0], names, language)}")
        else:
            names[node] = f"v{len(lines) + 1}"
            lines.append(f"{names[node]} = {_line(node, names, language)}")
    body = "\n".join(f"    {line}" for line in lines)
    return f"\n\n{language.decorator}\ndef {name}(a):\n{body}\n"


@cache
def _simpler() -> dict[Any, Any]:
    """Operations that are made of simpler ones."""
    aten = torch.ops.aten
    kept_as_one = (aten.elu, aten.gelu, aten.leaky_relu, aten.hardtanh, aten.hardsigmoid, aten.hardswish)
    return {**core_aten_decompositions(), **get_decompositions(kept_as_one)}


def _line(node: Node, names: dict[Node, str], language: Language) -> str:
    operation = str(node.target).split(".")[1] if "aten." in str(node.target) else str(node.target)
    given = [_argument(argument, names, language) for argument in node.args]
    arguments: tuple[Any, ...] = node.args
    if operation == "pow":
        exponent = arguments[1]
        return language.raised(given[0], given[1] if isinstance(exponent, Node) else float(exponent))
    pattern = language.operations.get(operation)
    if pattern is None or (set(node.kwargs) & {"alpha", "rounding_mode"}):
        raise ValueError(f"it calls {node.target}, which no kernel in {language.name} has")
    if operation == "clamp":
        ends = [*arguments[1:], None, None][:2]
        given[1:] = [
            _argument(end if end is not None else no, names, language)
            for end, no in zip(ends, (-math.inf, math.inf), strict=True)
        ]
    return pattern.format(*given)


def _argument(argument: Any, names: dict[Node, str], language: Language) -> str:
    if isinstance(argument, Node):
        return names[argument]
    return language.alone(argument) if isinstance(argument, int | float) else str(argument)
