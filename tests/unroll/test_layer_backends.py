"""Layers by every executor: the same outputs and gradients, and what ran is told."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

from throughtime import unroll
from throughtime.unroll import Recurrent


def outputs_and_gradients(layer: Recurrent, input: Tensor, **keywords: Any) -> list[Tensor]:
    input = input.clone().requires_grad_()
    found = layer(pack_padded_sequence(input, torch.tensor([63, 40, 40, 7, 1])), **keywords)
    output, last = found[0].data, found[1]
    loss = output.square().sum() + last.sin().sum()
    return [output, last, *torch.autograd.grad(loss, [input, *layer.parameters()])]


def test_fused_is_the_reference() -> None:
    torch.manual_seed(0)
    layer = unroll.GRU(3, 37, num_layers=2, bidirectional=True, dtype=torch.float64)
    input, hx = torch.randn(63, 5, 3, dtype=torch.float64), torch.randn(4, 5, 37, dtype=torch.float64)
    found = []
    for backend in ("fused", "reference"):
        layer.backend = backend
        found.append(outputs_and_gradients(layer, input, hx=hx))
        assert layer.backend == backend
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-11)


def test_step_by_step_is_the_fused_layer() -> None:
    torch.manual_seed(0)
    layer, input = unroll.GRU(3, 5, dtype=torch.float64, backend="fused"), torch.randn(4, 2, 3, dtype=torch.float64)
    state, outputs = None, []
    for x in input:
        output, state = layer.step(x, state)
        outputs.append(output)
    torch.testing.assert_close(torch.stack(outputs), layer(input)[0])


@pytest.mark.parametrize(
    ("layer", "steps", "keywords", "expected"),
    [
        (unroll.GRU(3, 32, dtype=torch.float64), 100, {}, "fused"),
        (unroll.GRU(3, 4), 5, {}, "reference"),
        (unroll.LSTM(3, 4), 5, {}, "torch"),
        (unroll.LSTM(3, 4), 5, {"lengths": [5, 3]}, "reference"),
        (unroll.LSTM(3, 4), 5, {"return_all_states": True}, "reference"),
        (unroll.LSTM(3, 4, dtype=torch.float64), 5, {}, "reference"),
    ],
    ids=["long", "short", "onednn", "ragged", "every state", "double"],
)
def test_what_auto_takes(layer: Recurrent, steps: int, keywords: dict[str, Any], expected: str) -> None:
    layer(torch.randn(steps, 2, 3, dtype=layer.weight_ih_l0.dtype), **keywords)
    assert layer.backend == expected


def test_an_input_that_cannot_be_fused() -> None:
    layer = unroll.GRU(3, 4, backend="fused").bfloat16()
    with pytest.raises(ValueError, match=r"backend: GRU\(\) cannot be fused: .* this is torch\.bfloat16"):
        layer(torch.randn(5, 2, 3).bfloat16())


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_derivatives_of_derivatives_whatever_ran(kind: str) -> None:
    torch.manual_seed(0)
    dtype = torch.float64 if kind == "GRU" else torch.float32
    layer, found = getattr(unroll, kind)(3, 32, dtype=dtype), []
    for backend in ("auto", "reference"):
        layer.backend = backend
        input = torch.ones(100 if kind == "GRU" else 20, 2, 3, dtype=dtype, requires_grad=True)
        (first,) = torch.autograd.grad(layer(input)[0].square().sum(), input, create_graph=True)
        assert layer.backend == ("reference" if backend == "reference" else {"GRU": "fused", "LSTM": "torch"}[kind])
        found.append(torch.autograd.grad(first.square().sum(), [input, *layer.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-4)


def test_an_output_that_is_changed_in_place() -> None:
    layer, input = unroll.GRU(3, 5, dtype=torch.float64, backend="fused"), torch.randn(4, 2, 3, dtype=torch.float64)
    expected = torch.autograd.grad(layer(input)[0].relu().sum(), layer.weight_hh_l0)
    found = torch.autograd.grad(layer(input)[0].relu_().sum(), layer.weight_hh_l0)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_under_a_checkpoint(use_reentrant: bool) -> None:
    layer = unroll.GRU(3, 5, dtype=torch.float64, backend="fused")
    input = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad(layer(input)[0].square().sum(), input)
    output = checkpoint(lambda given: layer(given)[0], input, use_reentrant=use_reentrant)
    output.square().sum().backward()
    torch.testing.assert_close((input.grad,), expected)
