"""The command line: `throughtime examine` and `throughtime story`."""

from typing import Annotated

import typer

import throughtime
from throughtime.cli.examine import examine
from throughtime.cli.failures import EXIT_CODES
from throughtime.cli.story import story

# Failures are told by `throughtime.cli.failures`; what gets past it is a bug, and its traceback should be plain.
app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.command(epilog=EXIT_CODES)(examine)
app.command()(story)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"throughtime {throughtime.__version__}")
        raise typer.Exit


@app.callback()
def throughtime_(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """How far back in time a recurrent network can learn, why it cannot learn further, and what would cure it."""
