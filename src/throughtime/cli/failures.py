"""Every failure as one message on stderr, with an exit code that tells its kind. No traceback."""

import io
import os
import sys
import tempfile
import traceback
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

# 2 is what command lines use for bad usage, 70 is EX_SOFTWARE of sysexits.h, 130 and 141 are 128 and the numbers of
# SIGINT and SIGPIPE.
FAILED_CHECK, BAD_INPUT, BUG, STOPPED, UNREAD = 1, 2, 70, 130, 141
EXIT_CODES = (
    f"Exit codes: 0 done, {FAILED_CHECK} a finding that --fail-on names, {BAD_INPUT} bad input, {BUG} a bug, "
    f"{STOPPED} Ctrl-C, {UNREAD} nobody reads the output any more."
)

# Set to anything, it shows the traceback of a failure.
TRACEBACK = "THROUGHTIME_TRACEBACK"


class CheckFailed(Exception):
    """What was examined has what the caller asked to fail on."""


class Unread(BaseException):
    """Nobody reads the output any more: no failure of what is being done, and not to be taken for one."""


class Terminal(Console):
    """Where output goes. Rich's own would end the program there, with a code that means something else here.

    What a file calls its tensors may hold commands to the terminal: these are shown, not sent.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """Everything that is printed, piece by piece."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(_printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Whoever read has gone."""
        raise Unread


@contextmanager
def told() -> Iterator[None]:
    """Tells on stderr what went wrong inside, and ends the program.

    What the terminal's encoding lacks is shown as "?" rather than ending the program.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        yield
    except KeyboardInterrupt:
        raise _ended("stopped", "", STOPPED) from None
    except (BrokenPipeError, Unread):
        # What is still held back for the output would be written at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(UNREAD) from None
    except CheckFailed as error:
        raise _ended("failed", str(error), FAILED_CHECK) from None
    except (ValueError, OSError) as error:
        _show_traceback()
        raise _ended("error", str(error), BAD_INPUT) from None
    except Exception as error:
        _show_traceback()
        if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
            raise _ended("error", f"not enough memory; give it fewer steps or samples ({error})", BAD_INPUT) from None
        message = f"{one_line(error)}\nThis should not happen. {TRACEBACK}=1 shows where it did; please report it."
        raise _ended("unexpected error", message, BUG) from None


def one_line(error: BaseException) -> str:
    """The kind of an exception and what it says."""
    try:
        said = str(error)
    except Exception:  # of the user's own making, and broken itself
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def check_writable(path: Path) -> None:
    """Refuse a place for a result before the work is done, not after.

    Raises:
        OSError: Nothing can be written there; the message says why and what to do.
    """
    folder = path.parent
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a folder; give the name of a file in it")
    if path.exists() and not path.is_file():
        raise OSError(f"{path}: neither a file nor a new name; give the name of a file")
    if not folder.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {folder}; make it first: mkdir -p {folder}")
    refused = PermissionError(f"{path}: may not be written; give another place")
    if path.exists() and not os.access(path, os.W_OK):
        raise refused
    try:
        # Only trying tells whether a file can be made there.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        raise refused from None


def _ended(what: str, message: str, code: int) -> typer.Exit:
    text = Text.assemble((what, "bold red"), f": {message}" if message else "")
    Terminal(stderr=True, soft_wrap=True).print(text)
    return typer.Exit(code)


def _printable(text: str) -> str:
    return "".join(letter if letter == "\n" or _is_shown(letter) else "�" for letter in text)


def _is_shown(letter: str) -> bool:
    # Python counts a space that does not break among what cannot be printed.
    return letter.isprintable() or unicodedata.category(letter) == "Zs"


def _show_traceback() -> None:
    if os.environ.get(TRACEBACK):
        traceback.print_exc()
