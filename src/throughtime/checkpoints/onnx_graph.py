"""The recurrences of an ONNX graph: its RNN, GRU and LSTM nodes, with their weights in torch's layout.

ONNX orders the gates of an LSTM i, o, f, c and those of a GRU z, r, h; torch i, f, g, o and r, z, n. See
https://onnx.ai/onnx/operators/onnx__LSTM.html and its neighbours.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from throughtime.capture import ExaminationError
from throughtime.cells import Named
from throughtime.checkpoints.layers import Checkpoint, Layer

# Where torch's gates lie among ONNX's.
_ORDERS = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
_ACTIVATIONS = {"RNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}
# What changes the shape of a sequence or its dtype, but not what a layer reads from the one before it.
_SHAPES_ONLY = {"Cast", "Dropout", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
_SHOWN = 8


class _NotFollowed(ValueError):
    """A node that is another cell than torch's; the message says in what."""


def read_onnx(path: Path) -> Checkpoint:
    """The recurrent layers of an ONNX file, those in branches of it too, and its embeddings.

    Raises:
        ExaminationError: It is no ONNX file, or holds no recurrence that can be followed; or the package `onnx` is
            not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError:
        raise ExaminationError(
            f'{path}: to read ONNX files, install throughtime[onnx] (or: pip install "onnx")'
        ) from None
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
    except DecodeError as error:
        raise ExaminationError(f"{path}: no ONNX file ({error})") from None
    nodes = list(_nodes(model.graph, _Values({one.domain: one.version for one in model.opset_import})))
    found = [(node, values) for node, values in nodes if node.op_type in _ORDERS]
    names = _names([node for node, _ in found])
    by_output = {(id(values), node.output[0]): name for (node, values), name in zip(found, names, strict=True)}
    layers: list[Layer] = []
    problems = []
    for (node, values), name in zip(found, names, strict=True):
        try:
            layers.append(_layer(node, values, name, _read(node.input[0], values, by_output)))
        except _NotFollowed as error:
            problems.append(f"{name} ({node.op_type}): {error}")
    if not layers:
        raise ExaminationError(f"{path}: " + ("; ".join(problems) or _none_found([node for node, _ in nodes])))
    return Checkpoint(_in_order(layers), _embeddings(nodes), tuple(f"Left out: {problem}." for problem in problems))


@dataclass
class _Values:
    """What the names in one graph stand for: constants, and the nodes that make the others.

    Args:
        opsets: The versions of the operators.
        outer: Those of the graph around it.
        constants: Initialisers, and what was computed from constants.
        makers: By name, the node that makes a value.
    """

    opsets: Mapping[str, int]
    outer: "_Values | None" = None
    constants: dict[str, np.ndarray | None] = field(default_factory=dict)
    makers: dict[str, Any] = field(default_factory=dict)

    def constant(self, name: str) -> np.ndarray | None:
        """The value of a name where it does not depend on the input of the model, else None."""
        if name not in self.constants:
            maker = self.makers.get(name)
            if maker is None:
                return None if self.outer is None else self.outer.constant(name)
            self.constants[name] = self._computed(maker).get(name)
        return self.constants[name]

    def _computed(self, node: Any) -> Mapping[str, np.ndarray]:
        """What a node makes of constants, run by ONNX's own reference."""
        from onnx import helper
        from onnx.defs import onnx_opset_version
        from onnx.reference import ReferenceEvaluator

        inputs = {name: self.constant(name) for name in node.input if name}
        if node.op_type in _ORDERS or any(value is None for value in inputs.values()) or _subgraphs(node):
            return {}
        read, made = ([helper.make_empty_tensor_value_info(name) for name in of] for of in (inputs, node.output))
        alone = helper.make_graph([node], "", read, made)
        # The reference lacks some old versions of operators, whose newer ones do the same.
        for opsets in (self.opsets, {**self.opsets, "": onnx_opset_version()}):
            try:
                return dict(
                    zip(node.output, ReferenceEvaluator(alone, opsets=dict(opsets)).run(None, inputs), strict=True)
                )
            except Exception:
                continue
        return {}


def _nodes(graph: Any, values: _Values) -> Iterator[tuple[Any, _Values]]:
    """Every node with the names it can see, those in the branches of If, Loop and Scan too."""
    from onnx.numpy_helper import to_array

    values.constants |= {initializer.name: to_array(initializer) for initializer in graph.initializer}
    values.makers |= {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        yield node, values
        for inner in _subgraphs(node):
            yield from _nodes(inner, _Values(values.opsets, values))


def _subgraphs(node: Any) -> list[Any]:
    return [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _names(nodes: list[Any]) -> list[str]:
    """The names of the nodes, made different."""
    names: list[str] = []
    seen: Counter[str] = Counter()
    for node in nodes:
        name = node.name.strip("/").replace("/", ".") or node.op_type
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return names


def _read(name: str, values: _Values, by_output: Mapping[tuple[int, str], str]) -> str | None:
    """The recurrence whose output sequence a value is, if nothing but its shape was changed on the way."""
    while (id(values), name) not in by_output:
        maker = values.makers.get(name)
        if maker is None or maker.op_type not in _SHAPES_ONLY:
            return None
        name = maker.input[0]
    return by_output[id(values), name]


def _layer(node: Any, values: _Values, name: str, reads: str | None) -> Layer:
    from onnx.helper import get_attribute_value

    attributes = {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
    direction = attributes.get("direction", b"forward").decode()
    nonlinearity = _checked(node.op_type, attributes, 2 if direction == "bidirectional" else 1)
    weights = _weights(node, values)
    both = [_in_torchs_order(node.op_type, *parts) for parts in zip(*weights, strict=True)]
    forward = None if direction == "reverse" else both[0]
    reverse = both[-1] if direction in ("reverse", "bidirectional") else None
    return Layer(name, node.op_type, forward, reverse, reads, nonlinearity)


def _checked(kind: str, attributes: Mapping[str, Any], directions: int) -> str | None:
    """The nonlinearity of an RNN, once it is certain that the equations are torch's.

    Raises:
        _NotFollowed: They are not.
    """
    given = [name.decode().lower() for name in attributes.get("activations", ())]
    default = list(_ACTIVATIONS[kind]) * directions
    relu = kind == "RNN" and given == ["relu"] * directions
    if given and given != default and not relu:
        raise _NotFollowed(f"its activations are {', '.join(given)}, where torch has {', '.join(default)}")
    if attributes.get("clip"):
        raise _NotFollowed(f"it clips its pre-activations at {attributes['clip']:g}, which torch does not")
    if attributes.get("input_forget"):
        raise _NotFollowed("its input and forget gates are coupled (input_forget=1), which torch's are not")
    if kind == "GRU" and not attributes.get("linear_before_reset"):
        raise _NotFollowed(
            "it resets h before the product with the recurrent weights (linear_before_reset=0), torch after it; in "
            "Keras that is reset_after=True"
        )
    return ("relu" if relu else "tanh") if kind == "RNN" else None


def _weights(node: Any, values: _Values) -> list[np.ndarray]:
    """W (direction, gates * hidden, input), R (direction, gates * hidden, hidden), B (direction, 2 gates * hidden)."""
    inputs = [*node.input, *[""] * 8]
    found = []
    for letter, name in zip("WRB", inputs[1:4], strict=True):
        value = values.constant(name) if name else None
        if name and value is None:
            raise _NotFollowed(f"its {letter} ({name}) is computed from the input of the model; expected a constant")
        found.append(value)
    if node.op_type == "LSTM" and inputs[7]:
        peepholes = values.constant(inputs[7])
        if peepholes is None or np.any(peepholes):
            raise _NotFollowed("it has peepholes, from c to the gates, which torch's has not")
    weight_ih, weight_hh, bias = found
    assert weight_ih is not None and weight_hh is not None, "ONNX asks for W and R"
    if bias is None:
        bias = np.zeros((len(weight_hh), 2 * weight_hh.shape[1]), weight_hh.dtype)
    return [weight_ih, weight_hh, bias]


def _in_torchs_order(kind: str, weight_ih: np.ndarray, weight_hh: np.ndarray, bias: np.ndarray) -> Named:
    bias_ih, bias_hh = np.split(bias, 2)
    named = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh}
    order = list(_ORDERS[kind])
    return {
        name: torch.cat([_tensor(value).chunk(len(order))[gate] for gate in order]) for name, value in named.items()
    }


def _tensor(value: Any) -> Tensor:
    # bfloat16 is not NumPy's own, so that it takes the way through float32, which holds all of it.
    wide = value if value.dtype in (np.float16, np.float32, np.float64) else value.astype(np.float32)
    return torch.from_numpy(np.array(wide))


def _embeddings(nodes: list[tuple[Any, _Values]]) -> dict[str, Tensor]:
    """The tables that are looked up in: by the definition of an embedding, a Gather of rows by numbers."""
    tables = {}
    for node, values in nodes:
        if node.op_type == "Gather" and node.input[0] not in values.makers:
            value = values.constant(node.input[0])
            if value is not None and value.ndim == 2 and len(value) > 1 and np.issubdtype(value.dtype, np.floating):
                tables[node.input[0]] = _tensor(value)
    return tables


def _in_order(layers: list[Layer]) -> tuple[Layer, ...]:
    """Every layer after the one that it reads; one that reads what was left out reads what is not known."""
    known = {layer.name: layer for layer in layers}
    ordered: list[Layer] = []
    for layer in layers:  # ONNX lists the nodes of a graph in the order in which they run
        below = known.get(layer.reads or "")
        reads = layer.reads if below and below.width * len(below.directions) == layer.input_size else None
        ordered.append(Layer(layer.name, layer.kind, layer.forward, layer.reverse, reads, layer.nonlinearity))
    return tuple(ordered)


def _none_found(nodes: list[Any]) -> str:
    kinds = [kind for kind, _ in Counter(node.op_type for node in nodes).most_common(_SHOWN)]
    return (
        f"found no recurrence; its operators: {', '.join(kinds) or 'none'}. Expected RNN, GRU or LSTM nodes; a "
        "recurrence that was unrolled, or is a Loop or Scan, cannot be recognised"
    )
