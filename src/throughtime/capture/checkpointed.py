"""Layers of which autograd's graph would not fit in memory: run segment by segment, and again for the way back.

Of a sequence of T steps the graph is then that of a segment of sqrt(T) at a time, for one more forward pass (Chen, Xu,
Zhang, Guestrin 2016, arXiv:1604.06174).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from throughtime.capture.forwards import replaced
from throughtime.capture.modules import Layers, SingleStep, layers_of, own_kind, parts_of
from throughtime.capture.substitution import Substitution
from throughtime.fused import WORTH_COMPILING

# What a graph takes of memory, by step, layer and gate: so many vectors as wide as the state of all samples, and so
# much for its nodes. Measured of torch's layers on the CPU; others take less.
VECTORS, NODES = 3, 5 * 2**10
# Shorter segments take longer to begin than to run.
SHORTEST = 256


class Segments:
    """Into which segments the calls of recurrent layers are cut, one call after the other.

    Calls are left whole while their graphs fit; the same calls in the same order are cut in the same way.

    Args:
        memory: Bytes that the graphs of all calls may take; None for as many as they need.
    """

    def __init__(self, memory: int | None) -> None:
        self._left = math.inf if memory is None else memory

    def of(self, layers: Layers, input: object, keywords: Mapping[str, Any]) -> int | None:
        """Into how many segments, of equal length to a step, the next call is cut; None where it keeps its graph.

        Args:
            layers: The layer, or the stack of them.
            input: What it is called with.
            keywords: What else it is called with, beside the state that it starts from.
        """
        asked_for = any(value is not None and value is not False for value in keywords.values())
        if asked_for or not isinstance(input, Tensor) or input.dim() != 3 or not _can_be_cut(layers):
            return None
        module = layers.module
        batch, steps = input.shape[:2] if module.batch_first else input.shape[1::-1]
        vectors = VECTORS * batch * module.hidden_size * input.element_size()
        taken = steps * module.num_layers * len(layers.cell.gates) * (vectors + NODES)
        if taken <= self._left:
            self._left -= taken
            return None
        if torch.is_autocast_enabled(input.device.type):
            # On the way back it no longer holds.
            return None
        # One that is too short for a kernel of ours would be run by something else than the whole.
        enough = math.ceil(WORTH_COMPILING / (batch * module.hidden_size * len(layers.cell.gates)))
        return max(1, steps // max(SHORTEST, math.isqrt(steps), enough))


@contextmanager
def checkpointed(modules: Mapping[str, nn.Module], memory: int | None, substitution: Substitution) -> Iterator[None]:
    """Inside, layers whose graph would not fit are run in segments, each of which is run again for the way back.

    Args:
        modules: The recurrent modules, by name.
        memory: Bytes that the graphs of all of them may take.
        substitution: What counts the model's detaches.
    """
    segments = Segments(memory)

    def in_segments(layers: Layers, own: Callable[..., Any]) -> Callable[..., Any]:
        module = layers.module

        def forward(input: Any, hx: Any = None, **keywords: Any) -> Any:
            count = segments.of(layers, input, keywords)
            if count is None:
                return own(module, input, hx, **keywords)
            time, outputs = int(module.batch_first), []
            with substitution.paused():
                for part in parts_of(input, count, time):
                    output, hx = _run(partial(own, module), part, hx, tuple(module.parameters()))
                    outputs.append(output)
                return torch.cat(outputs, dim=time), hx

        return forward

    cut = filter(_can_be_cut, map(layers_of, modules.values()))
    with replaced({one.module: in_segments(one, own_kind(one.module).forward) for one in cut}):
        yield


def _run(layer: Callable[..., Any], input: Tensor, hx: Any, weights: tuple[Tensor, ...]) -> tuple[Tensor, Any]:
    """What a layer returns, without its graph."""
    given = tuple(hx) if isinstance(hx, tuple | list) else () if hx is None else (hx,)

    def run(input: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        start = hx if hx is None else states if isinstance(hx, tuple | list) else states[0]
        output, last = layer(input, start)
        return (output, *last) if isinstance(last, tuple) else (output, last)

    output, *last = _Checkpoint.apply(run, 1 + len(given), input, *given, *weights)
    return output, tuple(last) if len(last) > 1 else last[0]


class _Checkpoint(torch.autograd.Function):
    """A part of a model that is run without a graph, and again with one on the way back.

    torch.utils.checkpoint either keeps the nodes of the graph, which in a layer of torch's weigh more than what they
    save, or leaves gradients in .grad.
    """

    @staticmethod
    def forward(ctx: Any, run: Callable[..., tuple[Tensor, ...]], count: int, *given: Tensor) -> tuple[Tensor, ...]:
        """Run it, on the first so many tensors; the others are its weights."""
        ctx.run, ctx.weights = run, given[count:]
        ctx.save_for_backward(*given[:count])
        return run(*given[:count])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Run it again, and backwards."""
        wanted = ctx.needs_input_grad[2:]
        given = [one.detach().requires_grad_(want) for one, want in zip(ctx.saved_tensors, wanted, strict=False)]
        with torch.enable_grad():
            ends = ctx.run(*given)
        starts = [one for one, want in zip((*given, *ctx.weights), wanted, strict=True) if want]
        found = iter(torch.autograd.grad(ends, starts, gradients, allow_unused=True))
        return None, None, *(next(found) if want else None for want in wanted)


def _can_be_cut(layers: Layers) -> bool:
    """Whether layers run segment by segment compute what they compute at once, with the same weights every time."""
    module = layers.module
    if isinstance(layers, SingleStep) or "forward" in vars(module):
        return False
    drops = module.num_layers > 1 and module.dropout and module.training
    return not (module.bidirectional or drops or layers.cell.window > 1) and layers.have_plain_weights
