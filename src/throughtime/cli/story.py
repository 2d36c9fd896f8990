"""`throughtime story`: the chain rule through time, term by term, on a sentence of the user's."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from throughtime.cli.failures import check_writable, told
from throughtime.cli.progress import Display


def story(
    sentence: Annotated[str, typer.Argument(help='Such as "the cats I saw this morning were very hungry".')],
    out: Annotated[
        Path | None,
        typer.Option(help="Where the same goes as a page, one self-contained HTML file.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the weights and the sentences.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.", show_default=False)] = None,
) -> None:
    """Every factor and every term of dl_t/dW_hh, with numbers, on a sentence of your own."""
    from throughtime import story as room

    with told():
        if out is not None:
            check_writable(out)
        console = Console()
        keywords = {} if steps is None else {"steps": steps}
        with Display(console) as display:
            told_story = room.tell(
                sentence,
                seed=seed,
                on_progress=lambda description, done, total: display.update(description, "", done, total),
                **keywords,
            )
        console.print(room.render(told_story))
        if out is not None:
            room.write_html(told_story, out)
            console.print(f"The same as a page: {out}", markup=False, highlight=False, soft_wrap=True)
