"""Running a model plainly: not compiled, not on cuDNN, and without recomputing backwards what was forgotten."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.utils import checkpoint


@contextmanager
def plainly() -> Iterator[None]:
    """Inside, compiled modules run as they were written, and checkpointed ones keep what they compute.

    What is compiled or computed again later cannot be opened, nor can states in it stand in for others. cuDNN's
    recurrent layers have no derivatives in evaluation mode, and round to TF32, which a GPU does nowhere else unasked.
    """
    with ExitStack() as stack:
        # Nothing is compiled before the compiler is imported, and importing it takes a second.
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(torch.backends.cudnn.flags(enabled=False, allow_tf32=False))
        stack.enter_context(patch.object(checkpoint, "CheckpointFunction", _Kept))
        stack.enter_context(patch.object(checkpoint, "_checkpoint_without_reentrant_generator", _kept))
        yield


class _Kept:
    """In place of the custom function behind reentrant checkpoints."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *arguments: Any) -> Any:
        return function(*arguments)


def _kept(*arguments: Any, **keywords: Any) -> Iterator[None]:
    """In place of what stands around the call of a checkpointed function that is not reentrant."""
    yield
