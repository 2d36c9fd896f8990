"""The installed command as a process of its own: its streams, its exit codes, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [str(Path(sys.executable).with_name("throughtime"))]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def call(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )


def test_version(folder) -> None:
    import throughtime

    result = call("--version", folder=folder)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"throughtime {throughtime.__version__}\n", "")


def test_json_can_be_piped(folder, model_file) -> None:
    result = call("examine", f"{model_file()}:build", "--json", "-", folder=folder)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["schema"]
    assert "\x1b" not in result.stdout + result.stderr


def test_a_terminal_that_knows_only_ascii_loses_no_report(folder, model_file) -> None:
    command = [*COMMAND, "examine", f"{model_file()}:build"]
    poor = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, cwd=folder, env=poor, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert (folder / "report.html").exists()


def test_a_failure_is_one_message(folder) -> None:
    result = call("examine", "nothing.py:build", folder=folder)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", "error: nothing.py: no such file\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows tells of a closed pipe in another way")
def test_nobody_reads_on(folder, model_file) -> None:
    """Ended as by the signal, and not with the code of a finding."""
    with subprocess.Popen(
        [*COMMAND, "examine", f"{model_file()}:build"],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait(timeout=60) == 141, said
    assert "Broken pipe" not in said


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_stops_with_a_word(folder) -> None:
    with subprocess.Popen(
        [*COMMAND, "examine"], cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("Next-character models of")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == "stopped\n"
    assert list(folder.iterdir()) == []
