"""How a layer is used: step by step, exported, compiled, saved, copied, and by which executor."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from throughtime import unroll

KINDS: dict[str, Any] = {
    "rnn": unroll.RNN,
    "gru": unroll.GRU,
    "lstm": unroll.LSTM,
    "projected": lambda *sizes, **keywords: unroll.LSTM(*sizes, proj_size=2, **keywords),
}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_step_by_step_is_the_layer(kind: str, batch: int | None, batch_first: bool) -> None:
    torch.manual_seed(0)
    layer = KINDS[kind](3, 4, num_layers=2, batch_first=batch_first, dtype=torch.float64)
    input = torch.randn(5, *(() if batch is None else (batch,)), 3, dtype=torch.float64)
    outputs, state = [], layer.initial_state(batch)
    for x in input.unbind(0):
        output, state = layer.step(x, state)
        outputs.append(output)
    transposed = batch_first and batch is not None
    expected, last = layer(input.transpose(0, 1) if transposed else input)
    torch.testing.assert_close(torch.stack(outputs), expected.transpose(0, 1) if transposed else expected)
    torch.testing.assert_close(state, last)
    torch.testing.assert_close(layer.step(input[0])[0], outputs[0])


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = unroll.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2, batch_first=True)
        self.readout = nn.Linear(4, 5)

    def forward(self, input: Tensor, lengths: Tensor) -> Tensor:
        return self.readout(self.layer(input, lengths=lengths)[0])


def test_export() -> None:
    """Of a model with the layer in it, for any number of samples."""
    model, lengths = Tagger().eval(), torch.tensor([5, 2])
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(
        model, (torch.randn(2, 5, 3), lengths), dynamic_shapes={"input": {0: batch}, "lengths": {0: batch}}
    )
    input, more = torch.randn(4, 5, 3), torch.tensor([1, 5, 3, 2])
    torch.testing.assert_close(exported.module()(input, more), model(input, more))


def test_export_of_every_kind() -> None:
    for kind in KINDS.values():
        model, input = kind(3, 4), torch.randn(5, 2, 3)
        torch.testing.assert_close(torch.export.export(model, (input,)).module()(input), model(input))


def test_what_ran() -> None:
    layer, input = unroll.GRU(3, 4, backend="reference"), torch.randn(5, 2, 3)
    assert layer.backend == "reference"
    assert repr(layer) == "GRU(GRU(), 3, 4, backend='reference')"
    automatic = unroll.GRU(3, 4)
    automatic.load_state_dict(layer.state_dict())
    assert automatic.backend == "auto"
    torch.testing.assert_close(automatic(input), layer(input))
    assert automatic.backend in ("reference", "fused", "torch")
    automatic.backend = "reference"
    automatic(input)
    assert automatic.backend == "reference"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_copies_are_equal_and_apart(kind: str, copied: Any) -> None:
    module, input = KINDS[kind](3, 4, 2), torch.randn(5, 2, 3)
    twin = copied(module)
    assert repr(twin) == repr(module)
    assert torch.equal(twin(input)[0], module(input)[0])
    nn.init.zeros_(twin.weight_hh_l1)
    assert not torch.equal(twin(input)[0], module(input)[0])


def test_saved_and_loaded(tmp_path: Any) -> None:
    module, input = Tagger(), torch.randn(2, 5, 3)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    twin = Tagger()
    twin.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True), strict=True)
    lengths = torch.tensor([5, 2])
    assert torch.equal(twin(input, lengths), module(input, lengths))


def test_what_models_call_on_torchs_layers() -> None:
    layer = unroll.GRU(3, 4)
    layer.flatten_parameters()
    names = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert all(one is getattr(layer, name) for one, name in zip(layer.all_weights[0], names, strict=True))


def test_weights_that_are_computed_from_others() -> None:
    torch.manual_seed(0)
    theirs, ours = nn.GRU(3, 4), unroll.GRU(3, 4)
    ours.load_state_dict(theirs.state_dict())
    for module in (theirs, ours):
        nn.utils.parametrizations.orthogonal(
            nn.utils.parametrizations.weight_norm(module, "weight_hh_l0"), "weight_ih_l0"
        )
    ours.load_state_dict(theirs.state_dict())
    input = torch.randn(5, 2, 3)
    torch.testing.assert_close(ours(input), theirs(input))
