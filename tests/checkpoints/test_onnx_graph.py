"""ONNX graphs: exported from torch and compared with torch, and built by hand against ONNX's own reference."""

import io
import sys

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime import ExaminationError
from throughtime.cells import RNN
from throughtime.checkpoints.onnx_graph import read_onnx

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def exported(module, path, *inputs):
    stream = io.BytesIO()
    with pytest.warns(Warning):  # the exporter that needs nothing but onnx is deprecated, and says more besides
        torch.onnx.export(module.eval(), inputs, stream, dynamo=False)
    path.write_bytes(stream.getvalue())
    return path


class Tagger(nn.Module):
    def __init__(self, kind, **options) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.encoder = kind(4, 6, **options)

    def forward(self, tokens):
        return self.encoder(self.embed(tokens))[0]


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
def test_an_export_from_torch_has_the_modules_weights_and_results(tmp_path, kind, options) -> None:
    torch.manual_seed(0)
    model, tokens = Tagger(kind, **options), torch.randint(11, (7, 2))
    path = exported(model, tmp_path / "model.onnx", tokens)
    layers = read_onnx(path).layers
    assert [layer.reads for layer in layers] == [None, *(layer.name for layer in layers[:-1])]
    for index, layer in enumerate(layers):
        for direction, suffix in ((layer.forward, ""), (layer.reverse, "_reverse")):
            for name, weight in (direction or {}).items():
                own = getattr(model.encoder, f"{name}_l{index}{suffix}", torch.zeros_like(weight))
                assert torch.equal(weight, own)
    torch.save(model.state_dict(), tmp_path / "model.pt")
    here, there = (tt.examine_checkpoint(tmp_path / f"model.{end}", tokens, seed=3) for end in ("onnx", "pt"))
    for one, other in zip(here, there, strict=True):
        for variable in ("gradient_map", "lag_profile", "decay_rate", "step_jacobian"):
            np.testing.assert_allclose(here[one][variable], there[other][variable], rtol=1e-4, atol=1e-4)


def test_the_nonlinearity_is_in_the_file(tmp_path) -> None:
    path = exported(nn.RNN(3, 4, nonlinearity="relu"), tmp_path / "rnn.onnx", torch.randn(5, 2, 3))
    (layer,) = read_onnx(path).layers
    assert layer.cell("tanh") == RNN("relu")
    assert not any("assumed" in note for note in tt.examine_checkpoint(path, steps=4).notes)


def graph(kind, direction="forward", name="layer", dtype=np.float32, between=(), **attributes):
    """One node with random weights, and steps of 3 features, batch 2, hidden 4."""
    rng = np.random.default_rng(0)
    both = 2 if direction == "bidirectional" else 1
    shapes = {"W": (both, GATES[kind] * 4, 3), "R": (both, GATES[kind] * 4, 4), "B": (both, GATES[kind] * 8)}
    weights = {letter: rng.normal(size=shape).astype(dtype) for letter, shape in shapes.items()}
    if kind == "GRU":
        attributes = {"linear_before_reset": 1} | attributes
    node = helper.make_node(
        kind, ["X", "W", "R", "B"], ["Y"], name=name, hidden_size=4, direction=direction, **attributes
    )
    return [node], weights


def written(path, nodes, constants, opset=17):
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, ["time", "batch", 3])]
    outputs = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)]
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "graph", inputs, outputs, stored), opset_imports=[helper.make_opsetid("", opset)]
    )
    onnx.save(made, path)
    return path


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_every_direction_runs_as_onnxs_reference_does(output, tmp_path, kind, direction) -> None:
    nodes, weights = graph(kind, direction)
    path = written(tmp_path / "model.onnx", nodes, weights)
    (layer,) = read_onnx(path).layers
    inputs = np.random.default_rng(1).normal(size=(6, 2, 3)).astype(np.float32)
    (expected,) = ReferenceEvaluator(str(path)).run(None, {"X": inputs})  # (time, direction, batch, hidden)
    parts = output(layer, torch.from_numpy(inputs)).unflatten(-1, (-1, 4)).transpose(1, 2)
    np.testing.assert_allclose(parts, expected, rtol=1e-4, atol=1e-6)
    exam = tt.examine_checkpoint(path, inputs)
    ends = {"forward": [""], "reverse": [".reverse"], "bidirectional": ["", ".reverse"]}[direction]
    assert exam.recurrences == [f"layer{end}" for end in ends]
    assert (exam[exam.recurrences[-1]].attrs["direction"] == "reverse") == (direction != "forward")


def test_weights_that_are_computed_from_constants(tmp_path) -> None:
    """As exporters leave them: transposed, squeezed in an old operator set, made of integers, and in a Constant."""
    (node,), weights = graph("GRU")
    scale = np.float32(0.01)
    whole = np.round(weights["W"] / scale).astype(np.int8)
    nodes = [
        helper.make_node("DequantizeLinear", ["W8", "scale"], ["W"]),
        helper.make_node("Transpose", ["Rt"], ["R2"], perm=[0, 2, 1]),
        helper.make_node("Identity", ["R2"], ["R"]),
        helper.make_node("Constant", [], ["B"], value=numpy_helper.from_array(weights["B"])),
        node,
    ]
    constants = {"W8": whole, "scale": np.array(scale), "Rt": weights["R"].transpose(0, 2, 1)}
    (layer,) = read_onnx(written(tmp_path / "model.onnx", nodes, constants)).layers
    (plain,) = read_onnx(written(tmp_path / "plain.onnx", [node], {**weights, "W": whole * scale})).layers
    assert layer.forward is not None and plain.forward is not None
    for name, weight in layer.forward.items():
        torch.testing.assert_close(weight, plain.forward[name])


def test_nodes_in_branches_and_nodes_of_one_name(tmp_path) -> None:
    (node,), weights = graph("LSTM")
    branch = helper.make_graph([node], "branch", [], [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)])
    other = helper.make_graph([node], "other", [], [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)])
    choice = helper.make_node("If", ["yes"], ["Y"], then_branch=branch, else_branch=other)
    layers = read_onnx(written(tmp_path / "model.onnx", [choice], {**weights, "yes": np.array(True)})).layers
    assert [layer.name for layer in layers] == ["layer", "layer#2"]


@pytest.mark.parametrize(
    ("kind", "attributes", "message"),
    [
        ("GRU", {"linear_before_reset": 0}, r"layer \(GRU\): it resets h before the product .* reset_after=True"),
        ("LSTM", {"clip": 3.0}, "it clips its pre-activations at 3"),
        ("LSTM", {"input_forget": 1}, "its input and forget gates are coupled"),
        (
            "LSTM",
            {"activations": ["HardSigmoid", "Tanh", "Tanh"]},
            "its activations are hardsigmoid, tanh, tanh, where",
        ),
        ("RNN", {"activations": ["Softsign"]}, "its activations are softsign, where torch has tanh"),
    ],
)
def test_other_cells_are_refused(tmp_path, kind, attributes, message) -> None:
    nodes, weights = graph(kind, **attributes)
    with pytest.raises(ExaminationError, match=message):
        read_onnx(written(tmp_path / "model.onnx", nodes, weights))


def test_peepholes_are_refused_unless_they_are_zero(tmp_path) -> None:
    (node,), weights = graph("LSTM")
    node.input.extend(["", "", "", "P"])
    zero = written(tmp_path / "zero.onnx", [node], {**weights, "P": np.zeros((1, 12), np.float32)})
    assert len(read_onnx(zero).layers) == 1
    with pytest.raises(ExaminationError, match="it has peepholes"):
        read_onnx(written(tmp_path / "model.onnx", [node], {**weights, "P": np.ones((1, 12), np.float32)}))


def test_weights_that_depend_on_the_input_are_refused(tmp_path) -> None:
    (node,), weights = graph("LSTM")
    nodes = [helper.make_node("Add", ["W0", "X"], ["W"]), node]
    with pytest.raises(ExaminationError, match=r"its W \(W\) is computed from the input of the model"):
        read_onnx(written(tmp_path / "model.onnx", nodes, {"W0": weights.pop("W"), **weights}))


def test_a_graph_without_recurrences_says_what_it_holds(tmp_path) -> None:
    path = written(tmp_path / "model.onnx", [helper.make_node("Relu", ["X"], ["Y"])], {})
    with pytest.raises(ExaminationError, match="found no recurrence; its operators: Relu"):
        read_onnx(path)


def test_no_onnx_file(tmp_path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    with pytest.raises(ExaminationError, match=r"model\.onnx: no ONNX file"):
        read_onnx(tmp_path / "model.onnx")


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExaminationError, match=r"install throughtime\[onnx\]"):
        read_onnx(tmp_path / "model.onnx")
