"""`throughtime examine`: the main job on real text, or a model of the user's."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from throughtime import compare, report
from throughtime.cli.failures import check_writable, told
from throughtime.cli.progress import Display
from throughtime.cli.target import Target
from throughtime.compare.next_character import STEPS
from throughtime.examination import Examination
from throughtime.examine import examine as examine_model
from throughtime.tasks import python_documentation, read_text

STDOUT = Path("-")


def examine(
    target: Annotated[
        str | None,
        typer.Argument(
            help="model.py:build or package.module:build, a function that returns (model, inputs, targets, loss). "
            "Without it, RNN, Gated, GRU and LSTM are trained on real text and examined.",
            show_default=False,
        ),
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="Train on this text file in place of Python's own documentation.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the report goes, one self-contained HTML file.")] = Path("report.html"),
    json: Annotated[
        Path | None, typer.Option(help="Where the numbers go as JSON; - is standard output.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the weights, the batches and the bootstrap.")] = 0,
    steps: Annotated[
        int | None, typer.Option(min=0, help=f"Training steps without a TARGET.  [default: {STEPS}]", show_default=False)
    ] = None,
) -> None:
    """How far back in time a recurrent network learns, and why no further."""
    with told(), _stdout_for(json):
        _check_options(target, text, out, json, steps)
        console = Console(stderr=json == STDOUT)
        if target is None:
            examinations = _main_job(console, text, STEPS if steps is None else steps, seed)
        else:
            examinations = {"": _own_model(console, Target.parsed(target), seed)}
        console.print(report.verdicts(examinations))
        report.write_html(examinations, out)
        console.print(f"The report, with its pictures: {out}", markup=False, highlight=False, soft_wrap=True)
        if json is not None:
            _write_json(console, examinations, json)


def _check_options(target: str | None, text: Path | None, out: Path, json: Path | None, steps: int | None) -> None:
    for name, given in (("--text", text), ("--steps", steps)):
        if target is not None and given is not None:
            raise ValueError(f"{name}: it belongs to the training of the four networks, and {target} brings its own model")
    if json is not None and json.resolve() == out.resolve():
        raise ValueError(f"--json: {json} is the report's place, too; give another one")
    for path in (out, json):
        if path is not None and path != STDOUT:
            check_writable(path)


def _main_job(console: Console, path: Path | None, steps: int, seed: int) -> Mapping[str, Examination]:
    text = python_documentation() if path is None else read_text(path)
    source = "Python's own documentation" if path is None else path
    console.print(f"Next-character models of {source}, {len(text):,} characters", markup=False, highlight=False, soft_wrap=True)
    with Display(console, compare.NETWORKS) as display:

        def show(progress: compare.Progress) -> None:
            value = "" if progress.loss is None else f"{progress.loss:.2f} nats/character"
            display.update(progress.network, progress.phase, progress.done, progress.total, value)

        return compare.next_character(text, steps, seed, show)


def _own_model(console: Console, target: Target, seed: int) -> Examination:
    model, inputs, targets, loss = target.build()
    with Display(console) as display, target.told("examining its model"):
        return examine_model(
            model,
            inputs,
            targets,
            loss=loss,
            seed=seed,
            on_progress=lambda done, total, name: display.update("examining", name, done, total),
        )


def _write_json(console: Console, examinations: Mapping[str, Examination], path: Path) -> None:
    """One examination as it is, several by name."""
    documents = {name: report.to_json(examination) for name, examination in examinations.items()}
    members = ", ".join(f"{quoted(name)}: {document}" for name, document in documents.items())
    content = documents[""] if "" in documents else f"{{{members}}}"
    if path == STDOUT:
        sys.__stdout__.write(content + "\n")
        return
    with report.written_whole(path) as temporary:
        temporary.write_text(content + "\n", encoding="utf-8")
    console.print(f"The numbers: {path}", markup=False, highlight=False, soft_wrap=True)


def _stdout_for(json: Path | None) -> AbstractContextManager[Any]:
    """Keeps standard output clean for the JSON, whatever a user's code prints."""
    return redirect_stdout(sys.stderr) if json == STDOUT else nullcontext()
