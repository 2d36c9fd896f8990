"""`--window` and `--trained-in`: what the findings are told of the training."""

import pytest

TINY = """

def tiny():
    model, inputs, targets, _ = build()
    with torch.no_grad():
        model.encoder.bias_ih_l0[6:12] = 5
    return model, inputs, targets, lambda output, targets: 1e-9 * loss(output, targets)
"""


def test_both_are_judged(run, model_file) -> None:
    options = ("--window", 2, "--trained-in", "float16", "--fail-on", "truncated,underflow")
    result = run("examine", f"{model_file(TINY)}:tiny", *options)
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first.startswith("failed: encoder.l0: truncated: Cut after every 2 steps, the gradient is")
    assert second.startswith("encoder.l0: underflow: In float16, what is below 6e-08 is rounded to that or to 0.")


def test_without_them_neither(run, model_file) -> None:
    result = run("examine", f"{model_file(TINY)}:tiny", "--fail-on", "truncated,underflow")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("model.py:tiny", "--trained-in", "int8"),
            "--trained-in: expected one of float16, bfloat16, float32",
        ),
        (("--window", "20"), "--window: it is for a model of your own with its loss, as model.py:build"),
        (("weights.pt", "--trained-in", "float16"), "--trained-in: it is for a model of your own with its loss"),
        (("--compare", "a.nc", "b.nc", "--window", "3"), "--window: it is for an examination, but --compare reads"),
    ],
)
def test_what_has_no_meaning_is_refused(run, folder, model_file, arguments, message) -> None:
    model_file(TINY)
    result = run("examine", *arguments)
    assert result.exit_code == 2 and result.stderr.startswith(f"error: {message}")
    assert not (folder / "report.html").exists()
