"""Running a model plainly: not compiled, not under autocast, not on cuDNN, and without computing anything again."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils import checkpoint

from throughtime.capture.checks import DEVICES

AUTOCAST = (
    "The model runs under autocast. It was examined without, in the dtype of its weights: derivatives far back cannot "
    "be told from rounding otherwise. What is rounded away in training, trained_in= tells."
)


@contextmanager
def plainly() -> Iterator[list[str]]:
    """Inside, compiled modules run as they were written, checkpointed ones keep what they compute, and autocast is off.

    What is compiled or computed again later cannot be opened, nor can states in it stand in for others. cuDNN's
    recurrent layers have no derivatives in evaluation mode, and round to TF32, which a GPU does nowhere else unasked.

    Yields:
        What must be said of it once the model has run.
    """
    notes: list[str] = []
    here, enter, leave = threading.get_ident(), torch.autocast.__enter__, torch.autocast.__exit__

    def entered(autocast: torch.autocast) -> Any:
        if threading.get_ident() != here:
            return enter(autocast)
        if autocast._enabled and AUTOCAST not in notes:
            notes.append(AUTOCAST)
        return autocast

    def left(autocast: torch.autocast, *error: Any) -> Any:
        return None if threading.get_ident() == here else leave(autocast, *error)

    with ExitStack() as stack:
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                notes[:] = [AUTOCAST]
            stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(patch.object(torch.autocast, "__enter__", entered))
        stack.enter_context(patch.object(torch.autocast, "__exit__", left))
        # Nothing is compiled before the compiler is imported, and importing it takes a second.
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(torch.backends.cudnn.flags(enabled=False, allow_tf32=False))
        stack.enter_context(patch.object(checkpoint, "CheckpointFunction", _Kept))
        stack.enter_context(patch.object(checkpoint, "_checkpoint_without_reentrant_generator", _kept))
        yield notes


class _Kept:
    """In place of the custom function behind reentrant checkpoints."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *arguments: Any) -> Any:
        return function(*arguments)


def _kept(*arguments: Any, **keywords: Any) -> Iterator[None]:
    """In place of what stands around the call of a checkpointed function that is not reentrant."""
    yield
