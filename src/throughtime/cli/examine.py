"""`throughtime examine`: the main job on real text, a model of the user's, or a checkpoint without its code.

With `--compare`, nothing is examined: examinations that were saved are laid side by side.
"""

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
from throughtime.cli.checks import (
    DTYPES,
    STDOUT,
    check_comparison,
    check_one,
    check_places,
    check_training,
    dtype_named,
    is_checkpoint,
)
from throughtime.cli.fail_on import check, verdicts_named
from throughtime.cli.failures import Terminal, told
from throughtime.cli.options import LARGEST_SEED
from throughtime.cli.progress import Display
from throughtime.cli.saved import compared, places
from throughtime.cli.target import Target
from throughtime.compare.next_character import STEPS
from throughtime.examination import Examination
from throughtime.examine import examine as examine_model
from throughtime.tasks import python_documentation, read_text

DRAWN_STEPS = 100
FINISHED = {"training": "trained", "examining": "examined"}


def examine(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            help="model.py:build or package.module:build, a function that returns (model, inputs, targets, loss); or a "
            "checkpoint without code: a state_dict in .pt or .safetensors, or .onnx. Without it, RNN, Gated, GRU and "
            "LSTM are trained on real text and examined. With --compare, two or more examinations that --save made.",
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
    save: Annotated[
        Path | None,
        typer.Option(
            help="Where the examination itself goes, exam.nc, for --compare and throughtime.load; those of the four "
            "networks go beside one another, exam-GRU.nc.",
            show_default=False,
        ),
    ] = None,
    compare_saved: Annotated[
        bool, typer.Option("--compare", help="Lay saved examinations side by side: --compare before.nc after.nc.")
    ] = False,
    window: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The steps after which your training cuts the graph: the findings say what that costs.",
            show_default=False,
        ),
    ] = None,
    trained_in: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE",
            help=f"The dtype of your training, {', '.join(DTYPES)}: the findings say what is rounded away in it.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=LARGEST_SEED,
            help="Of everything random: weights, batches, drawn inputs, the bootstrap; 0 by default.",
            show_default=False,
        ),
    ] = None,
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
    stdout, aside, named = sys.stdout, numbers == STDOUT, targets or []
    # Whatever a user's code prints must not end up among the numbers.
    with told(), redirect_stdout(sys.stderr if aside else stdout):
        training = {"--window": window, "--trained-in": trained_in}
        if compare_saved:
            unused = {"--text": text, "--data": data, "--steps": steps, "--save": save, "--seed": seed}
            check_comparison(named, unused | training)
        else:
            check_one(named, text, data, steps)
            check_training(named, training)
        seed = seed or 0
        dtype = None if trained_in is None else dtype_named(trained_in)
        saved = places(save, [""] if named else compare.NETWORKS) if save else {}
        kept = {f"--save of {name}" if name else "--save": path for name, path in saved.items()}
        check_places({"": out, "--json": numbers, **kept}, named, (text, data))
        failing = verdicts_named(fail_on)
        console = Terminal(stderr=aside)
        if compare_saved:
            examinations = compared(named)
        elif not named:
            examinations = _main_job(console, text, STEPS if steps is None else steps, seed)
        elif is_checkpoint(named[0]):
            examinations = {"": _checkpoint(console, named[0], data, DRAWN_STEPS if steps is None else steps, seed)}
        else:
            examinations = {"": _own_model(console, Target.parsed(named[0]), seed, window, dtype)}
        report.write_html(examinations, out)
        for name, path in saved.items():
            examinations[name].save(path)
        if numbers is not None:
            _write_json(examinations, numbers, stdout)
        console.print(report.verdicts(examinations))
        _say(console, f"The report, with its pictures: {out}")
        if saved:
            _say(console, f"The examination, for --compare: {', '.join(map(str, saved.values()))}")
        if numbers is not None:
            _say(console, f"The numbers: {'standard output' if aside else numbers}")
        check(examinations, failing)


def _main_job(console: Console, path: Path | None, steps: int, seed: int) -> Mapping[str, Examination]:
    text = python_documentation() if path is None else read_text(path)
    source = "Python's own documentation" if path is None else path
    _say(console, f"Next-character models of {source}, {len(text):,} characters")
    with Display(console, compare.NETWORKS) as display:

        def show(progress: compare.Advance) -> None:
            value = "" if progress.loss is None else f"{progress.loss:.2f} nats/character"
            phase = FINISHED[progress.phase] if progress.done == progress.total else progress.phase
            unit = "step" if progress.phase == "training" else "state"
            display.update(progress.network, phase, progress.done, progress.total, value, unit)

        return compare.next_character(text, steps, seed, show)


def _own_model(
    console: Console, target: Target, seed: int, window: int | None, trained_in: torch.dtype | None
) -> Examination:
    torch.manual_seed(seed)
    model, inputs, targets, loss = target.build()
    with Display(console) as display, target.told("examining its model"):
        return examine_model(
            model,
            inputs,
            targets,
            loss=loss,
            seed=seed,
            window=window,
            trained_in=trained_in,
            on_progress=_shown(display, "model"),
        )


def _checkpoint(console: Console, target: str, data: Path | None, steps: int, seed: int) -> Examination:
    with Display(console) as display:
        return examine_checkpoint(target, data, steps=steps, seed=seed, on_progress=_shown(display, "checkpoint"))


def _shown(display: Display, name: str) -> Callable[[int, int, str], None]:
    def show(done: int, total: int, recurrence: str) -> None:
        finished = done == total
        phase, value = ("examined", "") if finished else ("examining", recurrence)
        display.update(name, phase, done, total, value, "state")

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
