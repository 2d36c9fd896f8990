"""`--fail-on`: the exit code and the message, for continuous integration."""

import pytest

from throughtime.cli.fail_on import verdicts_named
from throughtime.findings import ILLNESSES

FORGETFUL = """

def forgetful():
    model, *rest = build()
    with torch.no_grad():
        model.encoder.bias_hh_l0[6:12] = -9
        model.encoder.weight_hh_l0.zero_()
    return model, *rest
"""


def test_a_finding_that_is_named_fails(run, folder, model_file) -> None:
    result = run("examine", f"{model_file(FORGETFUL)}:forgetful", "--fail-on", "exploding,vanishing")
    assert result.exit_code == 1
    assert result.stderr.startswith("failed: encoder.l0: vanishing: From lag 0 to lag 8 the derivative")
    assert result.stderr.count("\n") == 1 and "Traceback" not in result.output
    assert (folder / "report.html").exists()


def test_other_findings_do_not(run, model_file) -> None:
    result = run("examine", f"{model_file(FORGETFUL)}:forgetful", "--fail-on", "exploding")
    assert (result.exit_code, result.stderr) == (0, "")


def test_what_is_no_verdict_is_refused_before_the_work(run, folder, model_file) -> None:
    result = run("examine", f"{model_file()}:build", "--fail-on", "vanishing,healthy")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --fail-on: expected some of readout-bound, tiny-state, exploding, ")
    assert result.stderr.endswith("; found 'healthy'\n")
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("text", [",".join(ILLNESSES), " , ".join(ILLNESSES).upper()])
def test_every_illness_can_be_named(text) -> None:
    assert verdicts_named(text) == frozenset(ILLNESSES)
    assert verdicts_named(None) == frozenset()


def test_help_lists_the_exit_codes(run) -> None:
    assert "70 a bug" in " ".join(run("examine", "--help").stdout.replace("│", " ").split())
