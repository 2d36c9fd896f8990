"""First and second derivatives of layers by finite differences in float64, and torch's transformations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from throughtime import unroll
from throughtime.cells import ALL_CELLS, Cell

STEPS, LENGTHS = 3, [2, 3]


def drawn(cell: Cell, **keywords: Any) -> tuple[unroll.Recurrent, list[Tensor], tuple[str, ...]]:
    """A layer, all that it is differentiated with respect to, and the names of its weights."""
    torch.manual_seed(0)
    layer = unroll.Recurrent(cell, 2, 2, dtype=torch.float64, **keywords)
    input = torch.randn(STEPS, len(LENGTHS), 2, dtype=torch.float64, requires_grad=True)
    states = layer.initial_state(len(LENGTHS))
    states = [torch.randn_like(one) for one in (states if isinstance(states, tuple) else (states,))]
    names, weights = zip(*layer.named_parameters(), strict=True)
    return layer, [input, *(one.requires_grad_() for one in states), *weights], names


def called(layer: unroll.Recurrent, names: tuple[str, ...], form: str) -> Any:
    """The layer as a function of tensors, in one way of calling it."""
    resets = torch.tensor([[False, False], [False, True], [True, False]])
    keywords = {"lengths": {"lengths": LENGTHS}, "resets": {"reset_mask": resets}}.get(form, {})

    def outputs(input: Tensor, *rest: Tensor) -> list[Tensor]:
        states, weights = rest[: len(layer.cell.states)], rest[len(layer.cell.states) :]
        given: Any = input
        if form == "packed":
            given = pack_padded_sequence(input, torch.tensor(LENGTHS), enforce_sorted=False)
        hx = states if len(states) > 1 else states[0]
        parameters = dict(zip(names, weights, strict=True))
        output, last = torch.func.functional_call(layer, parameters, (given, hx), keywords)
        return [output.data if form == "packed" else output, *(last if isinstance(last, tuple) else (last,))]

    return outputs


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_gradcheck(cell: Cell) -> None:
    layer, tensors, names = drawn(cell, num_layers=2, bidirectional=True)
    assert torch.autograd.gradcheck(called(layer, names, "padded"), tensors, fast_mode=True)


@pytest.mark.parametrize("form", ["padded", "packed", "lengths", "resets"])
@pytest.mark.parametrize("kind", ["gru", "projected"])
def test_gradgradcheck(kind: str, form: str) -> None:
    cell = next(one for one in ALL_CELLS if type(one).__name__ == ("GRU" if kind == "gru" else "LSTM"))
    layer, tensors, names = drawn(cell, bidirectional=True, **({"proj_size": 1} if kind == "projected" else {}))
    outputs = called(layer, names, form)
    assert torch.autograd.gradcheck(outputs, tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(outputs, tensors, fast_mode=True)


# In forward mode torch compiles some formulas of its own by what it calls deprecated itself.
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_jacobian_of_the_output_by_vmap_is_that_of_torchs_layer() -> None:
    torch.manual_seed(0)
    reference, layer = nn.LSTM(2, 3, dtype=torch.float64), unroll.LSTM(2, 3, dtype=torch.float64)
    layer.load_state_dict(reference.state_dict())
    input = torch.randn(4, 2, 2, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(lambda x: reference(x)[0], input)
    for transform in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(transform(lambda x: layer(x)[0])(input), expected)


def test_vmap_over_sequences_is_the_batch() -> None:
    layer, input = unroll.GRU(2, 3, num_layers=2), torch.randn(4, 5, 2)
    found = torch.func.vmap(lambda x: layer(x)[0], in_dims=1, out_dims=1)(input)
    torch.testing.assert_close(found, layer(input)[0])
