"""The user's own model: where `build` is found, and what is said when it cannot be examined."""

import sys

import pytest

from throughtime.cli.target import Target, TargetError


def test_a_file_may_import_its_neighbours_even_while_building(model_file, folder) -> None:
    (folder / "sizes.py").write_text("HIDDEN = 6\n")
    (folder / "late.py").write_text("SEEN = True\n")
    name = model_file("\nimport sizes\n\n\ndef late():\n    import late\n    assert late.SEEN\n    return build()\n")
    before = list(sys.path)
    model, inputs, _, _ = Target.parsed(f"{name}:late").build()
    assert model(inputs).shape == (9, 4, 1)
    assert sys.path == before


def test_a_file_in_another_folder(folder, model_file) -> None:
    (folder / "far").mkdir()
    model_file(name="far/model.py")
    assert len(Target.parsed("far/model.py:build").build()) == 4


def test_a_file_named_like_an_installed_package_does_not_hide_it(model_file) -> None:
    import torch

    Target.parsed(f"{model_file(name='torch.py')}:loss")
    assert sys.modules["torch"] is torch


def test_a_dotted_module(folder, model_file) -> None:
    (folder / "my_package_of_models").mkdir()
    model_file(name="my_package_of_models/tagger.py")
    assert len(Target.parsed("my_package_of_models.tagger:build").build()) == 4


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "model.py",
            "model.py: expected FILE.py:FUNCTION, PACKAGE.MODULE:FUNCTION or the file of a checkpoint; name the ",
        ),
        ("model.py:", "model.py:: expected FILE.py:FUNCTION, PACKAGE.MODULE:FUNCTION or the file of a"),
        ("model.py:build()", "model.py:build(): expected FILE.py:FUNCTION"),
        (":build", ":build: expected FILE.py:FUNCTION"),
        ("other.py:build", "other.py: no such file"),
        ("no_such_module:build", "no_such_module: importing it failed: ModuleNotFoundError: No module named 'no_such"),
        ("model.py:biuld", "model.py: there is no function biuld; its functions: Tagger, build, loss"),
        ("model.py:nothing", "model.py: nothing() should return (model, inputs, targets, loss), found NoneType"),
        ("model.py:three", "model.py: three() should return (model, inputs, targets, loss), found 3 values"),
        (
            "model.py:no_model",
            "model.py: no_model() should return (model, inputs, targets, loss), found str for the model",
        ),
        (
            "model.py:no_loss",
            "model.py: no_loss() should return (model, inputs, targets, loss), found int for the loss",
        ),
    ],
)
def test_what_cannot_be_built(model_file, target, message) -> None:
    model_file(
        "nothing = lambda: None\n"
        "three = lambda: build()[:3]\n"
        "no_model = lambda: ('model', *build()[1:])\n"
        "no_loss = lambda: (*build()[:3], 3)\n"
    )
    with pytest.raises(TargetError) as error:
        Target.parsed(target).build()
    if "biuld" in target:
        message = message.replace("Tagger, build, loss", "Tagger, build, loss, no_loss, no_model, nothing, three")
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "\ndef failing():\n    return helper()\n\n\ndef helper():\n    raise KeyError('vocabulary')\n",
            "failing() failed: KeyError: 'vocabulary'\n  model.py, line 28: raise KeyError('vocabulary')",
        ),
        (
            "\ndef failing():\n    return nn.GRU(3, -1)\n",
            "failing() failed: ValueError: hidden_size must be greater than zero\n  model.py, line 24: return nn.GRU(",
        ),
        (
            "\ndef failing():\n    raise SystemExit('usage: model.py')\n",
            "failing() failed: SystemExit: usage: model.py\n  model.py, line 24: raise",
        ),
        ("\nraise OSError('no data')\n", "importing it failed: OSError: no data\n  model.py, line 23: raise OSError"),
        ("\ndef failing(:\n", "importing it failed: SyntaxError: "),
    ],
)
def test_a_failure_names_the_users_line(run, model_file, more, message) -> None:
    result = run("examine", f"{model_file(more)}:failing")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: model.py: {message}")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("(Tagger().half(), *build()[1:])", "model: encoder.weight_ih_l0 is torch.float16"),
        ("(Tagger(), torch.full((9, 4, 3), torch.nan), *build()[2:])", "inputs: NaN or inf"),
        ("(*build()[:3], lambda output, targets: output)", "loss: expected a scalar, or a 1-D tensor"),
        (
            "(*build()[:3], lambda output, targets: 3.0)",
            "model.py: examining its model failed: TypeError: loss: expected it",
        ),
        (
            "(Tagger(), torch.randn(9, 4, 5), *build()[2:])",
            "model.py: examining its model failed: RuntimeError: input.size(-1) must be equal to input_size. "
            "Expected 3, got 5\n  model.py, line 13: ",
        ),
        ("(*build()[:3], lambda output: output)", "model.py: examining its model failed: TypeError: "),
    ],
)
def test_a_model_that_cannot_be_examined(run, model_file, returned, message) -> None:
    result = run("examine", f"{model_file(f'{chr(10)}def bad():{chr(10)}    return {returned}{chr(10)}')}:bad")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "raised", ["asyncio.CancelledError('no')", "GeneratorExit('no')", "SystemExit('no')", "Rude()"]
)
def test_whatever_a_build_raises_is_told(run, model_file, raised) -> None:
    more = f"""
import asyncio


class Rude(Exception):
    def __str__(self):
        raise ValueError("not even that")


def failing():
    raise {raised}
"""
    result = run("examine", f"{model_file(more)}:failing")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: model.py: failing() failed: ")
    assert "Traceback" not in result.output
