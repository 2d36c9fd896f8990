"""Layers of which autograd's graph would not fit in memory: run segment by segment, and again for the way back.

Of a sequence of T steps the graph is then that of a segment of sqrt(T) at a time, for one more forward pass (Chen, Xu,
Zhang, Guestrin 2016, arXiv:1604.06174).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import Signature, signature
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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
        module = layers.module
        asked_for = any(value is not None and value is not False for value in keywords.values())
        if asked_for or not isinstance(input, Tensor) or not _can_be_cut(layers):
            return None
        if input.dim() != 3 or not input.numel() or input.shape[-1] != module.input_size:
            # The layer itself says what is wrong, where something is.
            return None
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
        module, form = layers.module, signature(own)

        def forward(*arguments: Any, **keywords: Any) -> Any:
            given = _named(form, module, *arguments, **keywords)
            input, hx = given.pop("input", None), given.pop("hx", None)
            count = segments.of(layers, input, given)
            if count is None:
                return own(module, *arguments, **keywords)
            outputs = []

            def turned(tensor: Tensor) -> Tensor:
                return tensor.transpose(0, 1) if module.batch_first else tensor

            with substitution.paused():
                # In memory by step, as the layer itself lays out what it reads under autograd, and what it returns.
                for part in parts_of(turned(input).contiguous(), count):
                    output, hx = _run(module, own, turned(part), hx)
                    outputs.append(turned(output))
                return turned(torch.cat(outputs)), hx

        return forward

    cut = filter(_can_be_cut, map(layers_of, modules.values()))
    with replaced({one.module: in_segments(one, own_kind(one.module).forward) for one in cut}):
        yield


def _named(form: Signature, module: nn.Module, *arguments: Any, **keywords: Any) -> dict[str, Any]:
    """The arguments of a call by name; none where the function does not take them."""
    try:
        _, *named = form.bind(module, *arguments, **keywords).arguments.items()
    except TypeError:
        return {}
    return dict(named)


def _run(module: nn.Module, own: Callable[..., Any], input: Tensor, hx: Any) -> tuple[Tensor, Any]:
    """What a layer returns, without its graph."""
    given = tuple(hx) if isinstance(hx, tuple | list) else () if hx is None else (hx,)
    # It may work with others later, where somebody swaps them for a call.
    weights = dict(module._parameters)

    def run(input: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        start = hx if hx is None else states if isinstance(hx, tuple | list) else states[0]
        with patch.dict(module._parameters, weights):
            output, last = own(module, input, start)
        return (output, *last) if isinstance(last, tuple) else (output, last)

    output, *last = _Checkpoint.apply(run, 1 + len(given), input, *given, *module.parameters())
    return output, tuple(last) if len(last) > 1 else last[0]


class _Checkpoint(torch.autograd.Function):
    """A part of a model that is run without a graph, and again with one on the way back.

    torch.utils.checkpoint either keeps the nodes of the graph, which in a layer of torch's weigh more than what they
    save, or leaves gradients in .grad.
    """

    @staticmethod
    def forward(ctx: Any, run: Callable[..., tuple[Tensor, ...]], count: int, *given: Tensor) -> tuple[Tensor, ...]:
        """Run it, on the first so many tensors; the others are its weights."""
        ctx.run, ctx.count = run, count
        # The weights, too: where they are changed in place before the way back, torch says so.
        ctx.save_for_backward(*given)
        return run(*given[:count])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Run it again, and backwards."""
        wanted, saved = ctx.needs_input_grad[2:], ctx.saved_tensors
        given = [one.detach().requires_grad_(want) for one, want in zip(saved[: ctx.count], wanted, strict=False)]
        with torch.enable_grad():
            ends = ctx.run(*given)
        starts = [one for one, want in zip((*given, *saved[ctx.count :]), wanted, strict=True) if want]
        found = iter(torch.autograd.grad(ends, starts, gradients, allow_unused=True))
        return None, None, *(next(found) if want else None for want in wanted)


def _can_be_cut(layers: Layers) -> bool:
    """Whether layers run segment by segment compute what they compute at once, with the same weights every time."""
    module = layers.module
    if isinstance(layers, SingleStep) or "forward" in vars(module):
        return False
    drops = module.num_layers > 1 and module.dropout and module.training
    return not (module.bidirectional or drops or layers.cell.window > 1) and layers.have_plain_weights
