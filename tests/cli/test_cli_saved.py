"""`--save` and `--compare`: examinations in files, and side by side."""

import json

import pytest

import throughtime as tt


@pytest.fixture
def saved(run, folder, model_file):
    """Two examinations of one model with other weights: a.nc and b.nc."""
    name = model_file()
    for seed, file in enumerate(("a.nc", "b.nc")):
        result = run("examine", f"{name}:build", "--seed", seed, "--save", file)
        assert result.exit_code == 0, result.output
        assert f"The examination, for --compare: {file}\n" in result.stdout
    (folder / "report.html").unlink()
    return folder


def test_saved_examinations_are_laid_side_by_side(run, saved) -> None:
    result = run("examine", "--compare", "a.nc", "b.nc", "--json", "both.json")
    assert result.exit_code == 0, result.output
    page = (saved / "report.html").read_text()
    assert "<b>a</b>" in page and "<b>b</b>" in page
    rates = [tt.load(saved / f"{name}.nc")["encoder.l0"]["decay_rate"].item() for name in "ab"]
    numbers = json.loads((saved / "both.json").read_text())
    found = [numbers[name]["recurrences"]["encoder.l0"]["states"]["h"]["decay_rate"] for name in "ab"]
    assert found == rates and rates[0] != rates[1]


def test_files_of_one_name_are_told_apart_by_their_folders(run, saved) -> None:
    (saved / "old").mkdir()
    (saved / "a.nc").rename(saved / "old" / "b.nc")
    assert run("examine", "--compare", "old/b.nc", "b.nc").exit_code == 0
    page = (saved / "report.html").read_text()
    assert "<b>old/b.nc</b>" in page and "<b>b.nc</b>" in page


def test_the_four_networks_are_saved_beside_one_another(run, folder, short) -> None:
    assert run("examine", "--steps", "0", "--save", "exam.nc").exit_code == 0
    assert sorted(path.name for path in folder.glob("*.nc")) == [
        "exam-GRU.nc",
        "exam-Gated.nc",
        "exam-LSTM.nc",
        "exam-RNN.nc",
    ]
    assert tt.load(folder / "exam-GRU.nc").recurrences


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--compare"], "--compare: expected two or more files made by --save, found 0"),
        (["--compare", "text.nc"], "--compare: expected two or more files made by --save, found 1"),
        (["--compare", "text.nc", "./text.nc"], "--compare: text.nc is named 2 times; name every file once"),
        (["--compare", "none.nc", "text.nc"], "path: there is no file 'none.nc'"),
        (["--compare", "text.nc", "none.nc"], "path: 'text.nc' is not an examination saved by this version"),
        (["--compare", "text.nc", "none.nc", "--steps", "3"], "--steps: it is for an examination, but --compare"),
        (["--compare", "text.nc", "none.nc", "--seed", "0"], "--seed: it is for an examination, but --compare"),
        (["--compare", "text.nc", "none.nc", "--out", "text.nc"], "text.nc: it would be overwritten, but it is what"),
        (["text.nc"], "TARGET: text.nc is a saved examination; lay it beside others: --compare text.nc ..."),
        (["text.nc", "none.nc"], "TARGET: expected at most one without --compare, found text.nc, none.nc"),
        (["--save", "exam.json"], "--save: expected a name that ends in .nc, found exam.json"),
        (["model.py:build", "--save", "x.nc", "--json", "x.nc"], "--save: x.nc is where --json goes"),
    ],
)
def test_bad_input_to_save_and_compare_is_refused(run, folder, model_file, options, message) -> None:
    model_file()
    (folder / "text.nc").write_text("not an examination")
    result = run("examine", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert not (folder / "report.html").exists()
