"""`throughtime story`: the chain rule through time, term by term, on a sentence of the user's."""

from pathlib import Path
from typing import Annotated

import typer

from throughtime.cli.failures import Terminal, check_writable, told
from throughtime.cli.options import LARGEST_SEED
from throughtime.cli.progress import Display
from throughtime.compare.agreement import STEPS
from throughtime.story import COLUMNS, render, tell, write_html


def story(
    sentence: Annotated[str, typer.Argument(help='Such as "the cats I saw this morning were very hungry".')],
    out: Annotated[
        Path | None,
        typer.Option(help="Where the same goes as a page, one self-contained HTML file.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of the weights and of all sentences.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Training steps of each network.")] = STEPS,
) -> None:
    """Every factor and every term of the chain rule through time, with numbers, on a sentence of your own."""
    with told():
        if out is not None:
            check_writable(out)
        console = Terminal()
        with Display(console) as display:
            result = tell(sentence, seed, steps, lambda done, total, name: display.update(name, "", done, total))
        console.print(render(result))
        if console.width < COLUMNS:
            console.print(f"Numbers are cut: the tables need {COLUMNS} columns, this terminal has {console.width}.")
        if out is not None:
            write_html(result, out)
            console.print(f"The same as a page: {out}", markup=False, highlight=False, soft_wrap=True)
