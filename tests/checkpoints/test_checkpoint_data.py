"""Data for a checkpoint: what is read from a file, and which layers it fits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime import ExaminationError
from throughtime.checkpoints.data import read_data
from throughtime.checkpoints.inputs import drawn_inputs, embedding_of, given_inputs
from throughtime.checkpoints.recognition import recognised
from throughtime.checkpoints.tensors import Stored

NUMBERS = np.arange(12.0).reshape(4, 3) / 8


def checkpoint(**modules):
    torch.manual_seed(0)
    weights = nn.ModuleDict(modules).state_dict()
    return recognised(Stored({((), name): tensor for name, tensor in weights.items()}), Path("model.pt"))


def given(found, values):
    return given_inputs(found, np.asarray(values), "data.npy", 0, torch.float32)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "\n".join(",".join(map(str, row)) for row in NUMBERS)),
        ("b.csv", "\ufefftime;x;y\n" + "\n".join(";".join(map(str, row)) for row in NUMBERS)),
        ("c.txt", "\n\n".join("  ".join(map(str, row)) for row in NUMBERS) + "\n"),
        ("d.txt", "x\ty\tz\n" + "\n".join("\t".join(map(str, row)) for row in NUMBERS)),
    ],
)
def test_text_files(tmp_path, name, text) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    values, called = read_data(tmp_path / name)
    np.testing.assert_array_equal(values, NUMBERS)
    assert called == str(tmp_path / name)


@pytest.mark.parametrize("text", ["3 1 2\n", "3\n1\n2\n", "token\n3\n1\n2\n", "3,1,2"])
def test_one_number_a_step(tmp_path, text) -> None:
    (tmp_path / "tokens.txt").write_text(text)
    values, _ = read_data(tmp_path / "tokens.txt")
    assert values.tolist() == [3, 1, 2] and np.issubdtype(values.dtype, np.integer)


def test_files_of_numpy_and_numbers_as_they_are(tmp_path) -> None:
    np.save(tmp_path / "a.npy", NUMBERS)
    np.savez(tmp_path / "b.npz", NUMBERS)
    np.savez(tmp_path / "c.npz", targets=np.ones(3), inputs=NUMBERS)
    for data in (tmp_path / "a.npy", str(tmp_path / "b.npz"), tmp_path / "c.npz", NUMBERS, torch.tensor(NUMBERS)):
        np.testing.assert_array_equal(read_data(data)[0], NUMBERS)


@pytest.mark.parametrize(
    "values", [NUMBERS[::-1], NUMBERS.astype(">f8"), NUMBERS.astype(np.longdouble), np.ones((3, 2), dtype=bool)]
)
def test_however_numbers_lie_in_memory(tmp_path, values) -> None:
    np.save(tmp_path / "a.npy", values)
    for data in (values, tmp_path / "a.npy"):
        read = torch.as_tensor(read_data(data)[0])
        np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.txt",
            b"the cats saw\nand ran home\n",
            r"line 2 is 'and ran home'; expected numbers, one step a line\. A text",
        ),
        ("a.csv", b"1,2\n3,4\n5\n", "line 3 has 1 columns, the lines before it 2"),
        ("a.csv", b"x,y\n\n1,2\n\n3,a\n", "line 5 is '3,a'; expected numbers"),
        ("a.csv", b"1,2\n3,nan\n", r"NaN or inf, first at index \[1, 1\] of shape \(2, 2\)"),
        ("a.csv", b"\n", "found nothing: the file is empty"),
        ("a.csv", b"\xff\xfe1", "it is no text in UTF-8"),
        ("a.npy", b"nothing", r"a\.npy: "),
        ("a.npz", b"nothing", r"a\.npz: "),
        ("a.parquet", b"", "expected data in .npy, .npz, .csv or .txt"),
    ],
)
def test_bad_files_are_told(tmp_path, name, content, message) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExaminationError, match=message) as error:
        read_data(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_bad_arrays_are_told(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.npy: no such file"):
        read_data(tmp_path / "nothing.npy")
    np.save(tmp_path / "objects.npy", np.array([{}, None]), allow_pickle=True)
    with pytest.raises(
        ExaminationError, match=r"objects\.npy: it cannot be read as NumPy's plain numbers; write it with numpy.save"
    ):
        read_data(tmp_path / "objects.npy")
    np.savez(tmp_path / "two.npz", a=NUMBERS, b=NUMBERS)
    with pytest.raises(ExaminationError, match=r"it holds a, b; expected one array, or one of them called inputs"):
        read_data(tmp_path / "two.npz")
    for values, message in (
        (np.ones((1, 3)), "found one step"),
        (np.ones((2, 2, 2, 2)), r"found shape \(2, 2, 2, 2\), expected"),
        (np.ones((0, 3)), r"found shape \(0, 3\), expected"),
        (np.array(["a", "b"]), "it holds <U1, expected real numbers"),
        (np.ones(3, complex), "it holds complex128, expected real numbers"),
    ):
        with pytest.raises(ExaminationError, match=f"^data: {message}"):
            read_data(values)


def test_features_are_taken_as_they_are() -> None:
    found = checkpoint(rnn=nn.GRU(3, 4))
    sequence = given(found, NUMBERS).sequences["rnn.l0"]
    torch.testing.assert_close(sequence, torch.tensor(NUMBERS, dtype=torch.float32).unsqueeze(1))
    batch = np.ones((5, 2, 3))
    assert given(found, batch).sequences["rnn.l0"].shape == (5, 2, 3)
    assert given(checkpoint(rnn=nn.GRU(1, 4)), np.ones(5)).sequences["rnn.l0"].shape == (5, 1, 1)


def test_whole_numbers_are_rows_of_an_embedding_as_wide_as_the_input() -> None:
    embed = nn.Embedding(9, 3)
    found = checkpoint(embed=embed, rnn=nn.GRU(3, 4))
    inputs = given(found, [0, 8, 1])
    torch.testing.assert_close(inputs.sequences["rnn.l0"][:, 0], embed.weight[[0, 8, 1]].detach())
    assert inputs.notes == ("The input of rnn.l0: data.npy, as rows of its embedding embed.weight.",)
    assert given(found, [[0, 1], [2, 3]]).sequences["rnn.l0"].shape == (2, 2, 3)
    # As many samples as the layer has inputs are samples; as floats, they are features.
    assert given(found, [[0, 1, 0], [1, 0, 0]]).sequences["rnn.l0"].shape == (2, 3, 3)
    assert given(found, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]).sequences["rnn.l0"].shape == (2, 1, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            np.ones((6, 5)),
            r"found 5 features in shape \(6, 5\); expected 3 \(rnn\.l0\) or 7 \(other\.l0\) features",
        ),
        (
            [0, 9],
            r"found shape \(2,\), whole numbers from 0 to 9; .* whole numbers from 0 to 8 \(rows of embed\.weight\)",
        ),
        ([0, -1], "whole numbers from -1 to 0; expected"),
        ([0.5, 1.5], r"found shape \(2,\); expected 3"),
    ],
)
def test_data_that_fits_nothing_says_what_would(values, message) -> None:
    found = checkpoint(embed=nn.Embedding(9, 3), rnn=nn.GRU(3, 4), other=nn.GRU(7, 4))
    with pytest.raises(ExaminationError, match=r"^data: .*" + message):
        given_inputs(found, *read_data(np.asarray(values)), 0, torch.float32)


def test_layers_that_the_data_does_not_fit_get_drawn_inputs_of_its_length() -> None:
    found = checkpoint(encoder=nn.GRU(3, 4), decoder=nn.LSTMCell(5, 4))
    inputs = given(found, np.ones((6, 2, 3)) / 2)
    assert inputs.sequences["decoder"].shape == (6, 2, 5)
    assert inputs.notes == (
        "The input of encoder.l0: data.npy.",
        "The input of decoder: numbers drawn from a standard normal distribution.",
    )


def test_inputs_are_drawn_from_the_embedding_where_there_is_one() -> None:
    found = checkpoint(embed=nn.Embedding(9, 3), rnn=nn.GRU(3, 4), other=nn.GRU(7, 4))
    inputs = drawn_inputs(found, 50, 40, 0, torch.float64)
    rows = {tuple(row) for row in inputs.sequences["rnn.l0"].flatten(0, 1).tolist()}
    assert rows == {tuple(row) for row in found.embeddings["embed.weight"].double().tolist()}
    other = inputs.sequences["other.l0"]
    assert other.shape == (50, 40, 7) and abs(other.mean()) < 0.02 and abs(other.std() - 1) < 0.02
    assert inputs.notes == (
        "The input of rnn.l0: rows of its embedding embed.weight, drawn at random.",
        "The input of other.l0: numbers drawn from a standard normal distribution.",
    )


def test_of_several_embeddings_the_one_nearest_by_name_is_taken() -> None:
    sides = {side: nn.ModuleDict({"emb": nn.Embedding(9, 3), "rnn": nn.GRU(3, 4)}) for side in ("encoder", "decoder")}
    found = checkpoint(**sides)
    assert [embedding_of(found, layer)[0] for layer in found.layers] == ["encoder.emb.weight", "decoder.emb.weight"]


def test_what_reaches_the_second_layer_is_the_output_of_the_first(tmp_path) -> None:
    torch.manual_seed(0)
    gru = nn.GRU(3, 4, num_layers=2).double()
    torch.save(gru.state_dict(), tmp_path / "gru.pt")
    first = nn.GRU(3, 4).double()
    first.load_state_dict({name: value for name, value in gru.state_dict().items() if name.endswith("l0")})
    second = {name.replace("l1", "l0"): value for name, value in gru.state_dict().items() if name.endswith("l1")}
    torch.save(second, tmp_path / "second.pt")
    inputs = torch.randn(6, 2, 3, dtype=torch.float64)
    whole = tt.examine_checkpoint(tmp_path / "gru.pt", inputs)["l1"]
    alone = tt.examine_checkpoint(tmp_path / "second.pt", first(inputs)[0])["l0"]
    np.testing.assert_allclose(whole["time_constant"], alone["time_constant"], rtol=1e-12)
    np.testing.assert_allclose(whole["step_jacobian"], alone["step_jacobian"], rtol=1e-12)
