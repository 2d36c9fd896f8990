"""`throughtime examine`: what it writes where, and what it refuses before it starts."""

import json
import sys

import pytest

TEXT = "the cats I saw this morning were very hungry.\n" * 200


def test_main_job(run, folder, short) -> None:
    result = run("examine", "--steps", "2", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert "Next-character models of Python's own documentation, 4" in result.stdout
    for network in ("RNN", "Gated", "GRU", "LSTM"):
        assert f"{network}: trained, 2 steps, " in result.stdout
        assert f"{network}: examined, 21 states\n" in result.stdout
        assert "nats per held-out character after 2 steps of training" in result.stdout
    assert "The report, with its pictures: report.html" in result.stdout
    assert result.stderr == "" and "\x1b" not in result.stdout
    assert "<html" in (folder / "report.html").read_text()[:200]
    assert [path.name for path in folder.iterdir()] == ["report.html"]


def test_a_text_of_the_users(run, folder, short) -> None:
    (folder / "cats.txt").write_text(TEXT)
    result = run("examine", "--text", "cats.txt", "--steps", "1", "--out", "cats.html", "--json", "cats.json")
    assert result.exit_code == 0, result.output
    assert "Next-character models of cats.txt, 9,200 characters" in result.stdout
    assert "The numbers: cats.json" in result.stdout
    assert (folder / "cats.html").stat().st_size > 100_000
    numbers = json.loads((folder / "cats.json").read_text())
    assert list(numbers) == ["RNN", "Gated", "GRU", "LSTM"]
    assert "".join(numbers["GRU"]["tokens"]) in TEXT


def test_a_model_of_the_users(run, folder, model_file) -> None:
    result = run("examine", f"{model_file()}:build")
    assert result.exit_code == 0, result.output
    assert "encoder.l0" in result.stdout
    assert "model: examined, 10 states\n" in result.stdout
    assert (folder / "report.html").exists()


def test_numbers_on_standard_output_are_alone_there(run, folder, model_file) -> None:
    name = model_file("\n\ndef loud():\n    print('loading')\n    return build()\n")
    result = run("examine", f"{name}:loud", "--json", "-")
    assert result.exit_code == 0, result.output
    numbers = json.loads(result.stdout)
    assert list(numbers["recurrences"]) == ["encoder.l0"]
    for line in ("loading", "encoder.l0", "report.html", "The numbers: standard output"):
        assert line in result.stderr


def test_the_seed_decides_what_build_draws(run, model_file) -> None:
    name = model_file()
    first, again, other = (run("examine", f"{name}:build", "--json", "-", "--seed", seed) for seed in (1, 1, 2))
    assert first.stdout == again.stdout != other.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.py:build", "--text", "cats.txt"], "--text: it is for the training of the four networks, but model.py"),
        (["model.py:build", "--steps", "5"], "--steps: it is for the training of the four networks"),
        (["--text", "nothing.txt"], "nothing.txt: no such file; give the path of a plain text file"),
        (["--text", "empty.txt"], "empty.txt: found nothing: the file is empty"),
        (["--text", "binary.txt"], "binary.txt: found the control byte 0x00 at offset 1, so this is no text"),
        (["--text", "a.txt"], "text: every character is 'a', so there is nothing to predict"),
        (["--out", "nowhere/report.html"], "nowhere/report.html: there is no folder nowhere; make it first: mkdir"),
        (["--json", "nowhere/report.json"], "nowhere/report.json: there is no folder nowhere"),
        (["--out", "."], ".: a folder; give the name of a file in it"),
        (["--out", "/dev/null"], "/dev/null: neither a file nor a new name; give the name of a file"),
        (["model.py:build", "--out", "model.py"], "model.py: it would be overwritten, but it is what is examined"),
        (["--text", "a.txt", "--json", "a.txt"], "a.txt: it would be overwritten, but it is what is examined"),
        (["--out", "same", "--json", "same"], "--json: same is where the report goes; give another place"),
    ],
)
def test_bad_input_is_refused_in_one_message(run, folder, model_file, options, message) -> None:
    model_file()
    (folder / "empty.txt").touch()
    (folder / "binary.txt").write_bytes(b"\x7f\x00" * 9000)
    (folder / "a.txt").write_text("a" * 9000)
    result = run("examine", *options)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert "Traceback" not in result.output
    assert not (folder / "report.html").exists()


def test_outputs_are_checked_before_the_work(run, monkeypatch) -> None:
    # By its full name the package's attribute is the command, not the module.
    module = sys.modules["throughtime.cli.examine"]
    monkeypatch.setattr(module, "python_documentation", lambda: pytest.fail("the work has begun"))
    assert run("examine", "--out", "nowhere/report.html").exit_code == 2


@pytest.mark.parametrize(("option", "value"), [("--steps", "-1"), ("--seed", "-1"), ("--seed", str(2**64))])
def test_numbers_out_of_range_are_refused(run, option, value) -> None:
    result = run("examine", option, value)
    assert result.exit_code == 2 and option in result.stderr
