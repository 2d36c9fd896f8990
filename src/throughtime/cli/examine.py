"""`throughtime examine`: the main job on real text, a model of the user's, or a checkpoint without its code."""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, TextIO

import torch
import typer
from rich.console import Console

from throughtime import compare, report
from throughtime.checkpoints import examine_checkpoint
from throughtime.checkpoints.data import SUFFIXES
from throughtime.cli.fail_on import check, verdicts_named
from throughtime.cli.failures import check_writable, told
from throughtime.cli.options import LARGEST_SEED
from throughtime.cli.progress import Display
from throughtime.cli.target import Target
from throughtime.compare.next_character import STEPS
from throughtime.examination import Examination
from throughtime.examine import examine as examine_model
from throughtime.tasks import python_documentation, read_text

STDOUT = Path("-")
# What names a checkpoint, even one that is not there; any other file that is no .py file is taken for one, too.
CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".onnx", ".tar", ".h5", ".keras")
DRAWN_STEPS = 100
FINISHED = {"training": "trained", "examining": "examined"}


def examine(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="model.py:build or package.module:build, a function that returns (model, inputs, targets, loss); or a "
            "checkpoint without code: a state_dict in .pt or .safetensors, or .onnx. Without it, RNN, Gated, GRU and "
            "LSTM are trained on real text and examined.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help=f"What a checkpoint reads, {', '.join(SUFFIXES)}: (steps, features) or (steps, samples, features), or "
            "the numbers of tokens. Without it, inputs are drawn to match.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="Train on this text file in place of Python's own documentation.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the report goes, one self-contained HTML file.")] = Path(
        "report.html"
    ),
    numbers: Annotated[
        Path | None,
        typer.Option("--json", help="Where the numbers go as JSON; - is standard output.", show_default=False),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="VERDICTS",
            help="Verdicts with commas between, vanishing,exploding: a finding of one of them is told on standard "
            "error, and the exit code is 1.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of the weights, the batches and the bootstrap.")
    ] = 0,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            help=f"Training steps, {STEPS} by default; 0 examines untrained networks. Of a checkpoint, the steps of a "
            f"drawn input, {DRAWN_STEPS} by default.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """How far back in time a recurrent network learns, and why no further."""
    stdout, aside = sys.stdout, numbers == STDOUT
    # Whatever a user's code prints must not end up among the numbers.
    with told(), redirect_stdout(sys.stderr if aside else stdout):
        _check_options(target, text, data, out, numbers, steps)
        failing = verdicts_named(fail_on)
        console = Console(stderr=aside)
        if target is None:
            examinations = _main_job(console, text, STEPS if steps is None else steps, seed)
        elif _is_checkpoint(target):
            examinations = {"": _checkpoint(console, target, data, DRAWN_STEPS if steps is None else steps, seed)}
        else:
            examinations = {"": _own_model(console, Target.parsed(target), seed)}
        report.write_html(examinations, out)
        if numbers is not None:
            _write_json(examinations, numbers, stdout)
        console.print(report.verdicts(examinations))
        _say(console, f"The report, with its pictures: {out}")
        if numbers is not None:
            _say(console, f"The numbers: {'standard output' if aside else numbers}")
        check(examinations, failing)


def _is_checkpoint(target: str) -> bool:
    path = Path(target)
    return path.suffix in CHECKPOINTS or (path.is_file() and path.suffix != ".py")


def _check_options(
    target: str | None, text: Path | None, data: Path | None, out: Path, numbers: Path | None, steps: int | None
) -> None:
    checkpoint = target is not None and _is_checkpoint(target)
    for name, given in (("--text", text), ("--steps", None if checkpoint else steps)):
        if target is not None and given is not None:
            raise ValueError(
                f"{name}: it is for the training of the four networks, but {target} brings a model of its own"
            )
    if data is not None and not checkpoint:
        raise ValueError(f"--data: it is for a checkpoint, but {target or 'the training'} brings inputs of its own")
    if data is not None and steps is not None:
        raise ValueError(f"--steps: it is for inputs that are drawn, but {data} brings steps of its own")
    if numbers is not None and numbers.resolve() == out.resolve():
        raise ValueError(f"--json: {numbers} is where the report goes; give another place")
    model = target if checkpoint else (target or "").rpartition(":")[0]
    sources = {path.resolve() for path in (text, data, model and Path(model)) if path}
    for path in (out, numbers):
        if path is not None and path != STDOUT:
            if path.resolve() in sources:
                raise ValueError(f"{path}: it would be overwritten, but it is what is examined; give another place")
            check_writable(path)


def _main_job(console: Console, path: Path | None, steps: int, seed: int) -> Mapping[str, Examination]:
    text = python_documentation() if path is None else read_text(path)
    source = "Python's own documentation" if path is None else path
    _say(console, f"Next-character models of {source}, {len(text):,} characters")
    with Display(console, compare.NETWORKS) as display:

        def show(progress: compare.Progress) -> None:
            value = "" if progress.loss is None else f"{progress.loss:.2f} nats/character"
            phase = FINISHED[progress.phase] if progress.done == progress.total else progress.phase
            display.update(progress.network, phase, progress.done, progress.total, value)

        return compare.next_character(text, steps, seed, show)


def _own_model(console: Console, target: Target, seed: int) -> Examination:
    torch.manual_seed(seed)
    model, inputs, targets, loss = target.build()
    with Display(console) as display, target.told("examining its model"):
        return examine_model(model, inputs, targets, loss=loss, seed=seed, on_progress=_shown(display, "model"))


def _checkpoint(console: Console, target: str, data: Path | None, steps: int, seed: int) -> Examination:
    with Display(console) as display:
        return examine_checkpoint(target, data, steps=steps, seed=seed, on_progress=_shown(display, "checkpoint"))


def _shown(display: Display, name: str) -> Callable[[int, int, str], None]:
    def show(done: int, total: int, recurrence: str) -> None:
        finished = done == total
        display.update(name, "examined" if finished else "examining", done, total, "" if finished else recurrence)

    return show


def _write_json(examinations: Mapping[str, Examination], path: Path, stdout: TextIO) -> None:
    """A model's examination as it is, those of the four networks by name."""
    documents = {name: json.loads(report.to_json(examination)) for name, examination in examinations.items()}
    content = json.dumps(documents.get("", documents), allow_nan=False, ensure_ascii=False) + "\n"
    if path == STDOUT:
        stdout.write(content)
        return
    with report.written_whole(path) as temporary:
        temporary.write_text(content, encoding="utf-8")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
