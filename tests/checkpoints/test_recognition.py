"""Recognising recurrences in named tensors, in the forms in which projects save them."""

from pathlib import Path

import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime import ExaminationError
from throughtime.checkpoints.recognition import recognised
from throughtime.checkpoints.tensors import Stored

FILE = Path("model.pt")


def stored(tensors, place=(), unread=()):
    return Stored({(place, name): tensor for name, tensor in tensors.items()}, unread)


def found(tensors):
    return recognised(stored(tensors), FILE)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"num_layers": 3, "bidirectional": True}, {"bias": False}])
def test_every_kind_is_rebuilt_with_the_same_outputs(output, kind, options) -> None:
    torch.manual_seed(0)
    module = kind(4, 6, **options)
    layers = found({f"a.b.{name}": tensor for name, tensor in module.state_dict().items()}).layers
    assert [layer.name for layer in layers] == [f"a.b.l{k}" for k in range(module.num_layers)]
    assert [layer.reads for layer in layers] == [None, *(layer.name for layer in layers[:-1])]
    assert {layer.kind for layer in layers} == {kind.__name__}
    sequence = inputs = torch.randn(5, 2, 4)
    for layer in layers:
        sequence = output(layer, sequence)
    torch.testing.assert_close(sequence, module(inputs)[0])


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_projection_is_recognised(output) -> None:
    lstm = nn.LSTM(4, 6, num_layers=2, proj_size=3, bidirectional=True)
    layers = found(lstm.state_dict()).layers
    assert [(layer.input_size, layer.hidden_size, layer.width) for layer in layers] == [(4, 6, 3), (6, 6, 3)]
    sequence = inputs = torch.randn(5, 2, 4)
    for layer in layers:
        sequence = output(layer, sequence)
    torch.testing.assert_close(sequence, lstm(inputs)[0])


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_single_cells(cell) -> None:
    (layer,) = found({f"decoder.cell.{name}": value for name, value in cell(4, 6).state_dict().items()}).layers
    assert (layer.name, layer.kind, layer.hidden_size) == ("decoder.cell", cell.__name__.removesuffix("Cell"), 6)
    (layer,) = found(cell(4, 6).state_dict()).layers
    assert layer.name == "cell"


def test_several_modules_keep_their_names() -> None:
    model = nn.ModuleDict({"encoder": nn.GRU(4, 6), "decoder": nn.LSTMCell(4, 6), "head": nn.Linear(6, 2)})
    assert [layer.name for layer in found(model.state_dict()).layers] == ["encoder.l0", "decoder"]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.module."])
def test_prefixes_of_wrappers_are_left_out(prefix) -> None:
    weights = {f"{prefix}{name}": value for name, value in nn.GRU(4, 6).state_dict().items()}
    assert [layer.name for layer in found(weights).layers] == ["l0"]


def test_prefixes_of_wrappers_are_kept_where_they_tell_two_modules_apart() -> None:
    weights = {**nn.ModuleDict({"module": nn.ModuleDict({"rnn": nn.GRU(4, 6)}), "rnn": nn.LSTM(4, 6)}).state_dict()}
    assert [(layer.name, layer.kind) for layer in found(weights).layers] == [
        ("module.rnn.l0", "GRU"),
        ("rnn.l0", "LSTM"),
    ]


def test_dicts_around_the_weights_count_only_where_several_hold_recurrences() -> None:
    gru = nn.GRU(4, 6).state_dict()
    one = stored(gru, ("checkpoint", "state_dict"))
    assert recognised(one, FILE).layers[0].name == "l0"
    both = Stored({**stored(gru, ("encoder",)).tensors, **stored(gru, ("decoder",)).tensors})
    assert [layer.name for layer in recognised(both, FILE).layers] == ["encoder.l0", "decoder.l0"]


@pytest.mark.parametrize("outer", [True, False])
def test_the_raw_weight_of_a_weight_that_is_dropped_out(outer) -> None:
    """AWD-LSTM keeps weight_hh_l0_raw, beside the layer (fastai) or in it; what is stored beside it is thinned out."""
    lstm = nn.LSTM(4, 6).state_dict()
    raw = lstm["weight_hh_l0"]
    weights = {f"rnns.0.module.{name}": value for name, value in lstm.items()}
    weights["rnns.0.module.weight_hh_l0"] = torch.zeros_like(raw)
    if outer:
        weights = {"rnns.0.weight_hh_l0_raw": raw, **weights}
    else:
        weights["rnns.0.module.weight_hh_l0_raw"] = raw
    (layer,) = found(weights).layers
    assert layer.name == "rnns.0.module.l0"
    assert layer.forward is not None and torch.equal(layer.forward["weight_hh"], raw)


def test_a_bias_alone_gets_a_partner_of_zeros() -> None:
    weights = nn.GRU(4, 6).state_dict()
    del weights["bias_hh_l0"]
    (layer,) = found(weights).layers
    assert layer.forward is not None and not layer.forward["bias_hh"].any()


def test_what_is_not_recognised_is_left_out_with_a_note() -> None:
    weights = {f"good.{name}": value for name, value in nn.GRU(4, 6).state_dict().items()}
    weights |= {"odd.weight_ih_l0": torch.ones(12, 4), "odd.weight_hh_l0": torch.ones(12, 6)}
    checkpoint = found(weights)
    assert [layer.name for layer in checkpoint.layers] == ["good.l0"]
    (note,) = checkpoint.notes
    assert note.startswith(
        "Left out: odd: weight_hh has shape (12, 6); expected as many rows as columns (RNN), 3 times"
    )


@pytest.mark.parametrize(("kind", "weight"), [(tt.PeepholeLSTM, "weight_cf_l0, weight_ci_l0"), (tt.SCRN, "weight_is")])
def test_a_cell_with_further_weights_is_of_another_kind(kind, weight) -> None:
    good = {f"good.{name}": value for name, value in nn.GRU(4, 6).state_dict().items()}
    odd = {f"odd.{name}": value for name, value in kind(4, 6).state_dict().items()}
    checkpoint = found(good | odd)
    assert [layer.name for layer in checkpoint.layers] == ["good.l0"]
    (note,) = checkpoint.notes
    assert note.startswith("Left out: odd") and f": beside weight_ih and weight_hh there is {weight}," in note


@pytest.mark.parametrize("further", ["tau", "layernorm_i.weight", "weight_c", "readout.bias"])
def test_a_module_with_anything_else_in_it_is_a_cell_of_another_kind(further) -> None:
    weights = {f"cell.{name}": value for name, value in nn.LSTMCell(4, 6).state_dict().items()}
    with pytest.raises(ExaminationError, match=f"beside weight_ih and weight_hh there is {further}, so this is none"):
        found(weights | {f"cell.{further}": torch.ones(6)})
    # Where the module has no name, the rest of a model may stand beside it.
    rest = {name.removeprefix("cell."): value for name, value in weights.items()} | {"readout.bias": torch.ones(6)}
    assert [layer.kind for layer in found(rest).layers] == ["LSTM"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_hh_l0": torch.ones(12, 6)}, r"the recurrence: weight_hh has shape \(12, 6\); expected as many rows"),
        ({"weight_hh_l0": torch.ones(18)}, r"weight_hh has shape \(18,\); expected"),
        ({"weight_hh_l0": None}, "there is no weight_hh_l0, only bias_hh_l0, bias_ih_l0, weight_ih_l0; where it is st"),
        ({"weight_ih_l0": None}, "there is no weight_ih_l0, only"),
        ({"weight_ih_l0": torch.ones(17, 4)}, r"weight_ih_l0 has shape \(17, 4\), expected 18 rows as weight_hh_l0"),
        ({"weight_ih_l0": torch.ones(18)}, r"weight_ih_l0 has shape \(18,\), expected 18 rows"),
        ({"bias_hh_l0": torch.ones(6)}, r"bias_hh_l0 has shape \(6,\), expected 18 rows as weight_hh_l0 of this GRU"),
        ({"weight_hh_l0": torch.ones(18, 6, dtype=torch.int8)}, "weight_hh_l0 is torch.int8; save the weights as they"),
        ({"weight_hh_l0": torch.full((18, 6), torch.nan)}, "weight_hh_l0 holds 108 NaN or inf among 108 values"),
        ({"weight_hr_l0": torch.ones(6, 6)}, r"projected by weight_hr of shape \(6, 6\); expected"),
        ({"weight_ih_l1": torch.ones(18, 5), "weight_hh_l1": torch.ones(18, 6)}, "weight_ih_l1 has 5 columns, but the"),
        (
            {"weight_ih_l0_reverse": torch.ones(24, 4), "weight_hh_l0_reverse": torch.ones(24, 6)},
            "the directions of l0 are of different kinds, GRU and LSTM",
        ),
    ],
)
def test_weights_that_fit_nothing_are_told(changes, message) -> None:
    weights = {**nn.GRU(4, 6).state_dict(), **changes}
    with pytest.raises(ExaminationError, match=rf"^model\.pt: .*{message}"):
        found({name: value for name, value in weights.items() if value is not None})


def test_a_file_without_recurrences_says_what_it_holds() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(5)))
    with pytest.raises(
        ExaminationError, match=r"found no recurrence, but 0\.weight, 0\.bias, .* and 4 more\. Expected"
    ):
        found(model.state_dict())
    with pytest.raises(ExaminationError, match="found no recurrence, but no tensors"):
        found({})


def test_embeddings_are_told_from_linear_layers() -> None:
    model = nn.ModuleDict(
        {
            "word_emb": nn.Embedding(9, 4),
            "table": nn.Embedding(9, 4),
            "rnn": nn.GRU(4, 6),
            "emb_head": nn.Linear(4, 9),
        }
    )
    assert list(found(model.state_dict()).embeddings) == ["word_emb.weight"]
    del model["word_emb"]
    assert list(found(model.state_dict()).embeddings) == ["table.weight"]
    other = nn.ModuleDict({"rnn": nn.GRU(4, 6), "head": nn.Linear(4, 9, bias=False)})
    assert not found(other.state_dict()).embeddings


def test_what_was_not_read_is_told() -> None:
    checkpoint = recognised(stored(nn.GRU(4, 6).state_dict(), unread=("argparse.Namespace",)), FILE)
    assert checkpoint.notes == ("Not read, as it is no plain data: argparse.Namespace.",)
