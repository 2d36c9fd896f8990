"""What the user names to be examined: `model.py:build` or `package.module:build`."""

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from throughtime.capture import ExaminationError
from throughtime.cli.failures import Unread, one_line

EXPECTED = "expected FILE.py:FUNCTION, PACKAGE.MODULE:FUNCTION or the file of a checkpoint"
RETURNS = "(model, inputs, targets, loss)"
_OWN = Path(__file__).parents[1]


class TargetError(ValueError):
    """The target cannot be examined; the message says what was found and what to do."""


@dataclass(frozen=True)
class Target:
    """A function of the user's that returns (model, inputs, targets, loss).

    Args:
        module: Path of a file, or dotted name of a module.
        function: Its name there.
    """

    module: str
    function: str

    @classmethod
    def parsed(cls, target: str) -> "Target":
        """From the command line.

        Raises:
            TargetError: It is no such name.
        """
        module, separator, function = target.rpartition(":")
        if not separator:
            raise TargetError(f"{target}: {EXPECTED}; name the function too, for example {target}:build")
        if not module or not function.isidentifier():
            raise TargetError(f"{target}: {EXPECTED}")
        return cls(module, function)

    @property
    def is_file(self) -> bool:
        """Whether a file is named, not a module."""
        return self.module.endswith(".py") or os.sep in self.module

    @property
    def _folder(self) -> Path:
        return Path(self.module).resolve().parent if self.is_file else Path.cwd()

    def build(self) -> tuple[nn.Module, Any, Any, Callable[[Any, Any], Any]]:
        """Import the module and call the function.

        The folder of the file, for a module the current one, is importable from meanwhile.

        Raises:
            TargetError: There is no such file, module or function, it fails, or returns something else.
        """
        with _importable(self._folder):
            with self.told("importing it"):
                module = self._imported()
            function = getattr(module, self.function, None)
            if not callable(function):
                named = ", ".join(sorted(name for name in _functions(module))) or "none"
                raise TargetError(f"{self.module}: there is no function {self.function}; its functions: {named}")
            with self.told(f"{self.function}()"):
                built = function()
        return self._checked(built)

    @contextmanager
    def told(self, doing: str) -> Iterator[None]:
        """Turns whatever the user's code raises inside into a TargetError with the line where it happened."""
        try:
            yield
        except (ExaminationError, TargetError):
            raise
        except (KeyboardInterrupt, Unread):
            raise
        except BaseException as error:
            raise TargetError(f"{self.module}: {doing} failed: {one_line(error)}{self._place(error)}") from error

    def _imported(self) -> ModuleType:
        if not self.is_file:
            return importlib.import_module(self.module)
        path = Path(self.module)
        if not path.is_file():
            raise TargetError(f"{path}: no such file")
        # Not under its own name, which might be that of an installed package.
        name = f"throughtime_target_{path.stem}"
        spec = importlib.util.spec_from_file_location(name, path.resolve())
        if spec is None or spec.loader is None:
            raise TargetError(f"{path}: {EXPECTED}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    def _checked(self, built: Any) -> Any:
        found = f"{self.module}: {self.function}() should return {RETURNS}, found"
        if not isinstance(built, (tuple, list)):
            raise TargetError(f"{found} {type(built).__name__}")
        if len(built) != 4:
            raise TargetError(f"{found} {len(built)} values")
        if not isinstance(built[0], nn.Module):
            raise TargetError(f"{found} {type(built[0]).__name__} for the model; it should be a torch.nn.Module")
        if not callable(built[3]):
            raise TargetError(
                f"{found} {type(built[3]).__name__} for the loss; it should be a function loss(output, targets)"
            )
        return tuple(built)

    def _place(self, error: BaseException) -> str:
        """Where in the user's own code an exception was raised: the last line of it on the way."""
        if isinstance(error, SyntaxError):
            return ""
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if _is_within(frame.filename, self._folder)]
        if not own:
            return ""
        return f"\n  {os.path.relpath(own[-1].filename)}, line {own[-1].lineno}: {own[-1].line}"


def _is_within(file: str, folder: Path) -> bool:
    """Whether a file is the user's: in their folder, but neither an installed package nor this one."""
    path = Path(file)
    return path.is_relative_to(folder) and "site-packages" not in path.parts and not path.is_relative_to(_OWN)


def _functions(module: ModuleType) -> Iterator[str]:
    for name, value in vars(module).items():
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            yield name


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        # The user's code may have changed the path, too.
        with suppress(ValueError):
            sys.path.remove(str(folder))
