"""What a layer says to arguments and inputs that do not fit."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from throughtime import cells, unroll


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"hidden_size": 0}, "hidden_size: expected at least 1, found 0"),
        ({"input_size": -1}, "input_size: expected at least 1, found -1"),
        ({"num_layers": 0}, "num_layers: expected at least 1, found 0"),
        ({"dropout": 1.5}, "dropout: expected a probability between 0 and 1, found 1.5"),
        ({"proj_size": 4}, "proj_size: expected between 1 and 3, or 0 for none, found 4"),
        ({"proj_size": -1}, "proj_size: expected between 1 and 3, or 0 for none, found -1"),
        ({"proj_size": 2}, r"proj_size: GRU\(\) carries h itself .*; choose a cell with one, such as LSTM"),
        ({"backend": "cuda"}, r"backend: expected one of \('auto', 'reference', 'fused'\), found 'cuda'"),
    ],
)
def test_impossible_arguments(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unroll.GRU(**({"input_size": 3, "hidden_size": 4} | keywords))


# Under the tests the type checker speaks first, in its own words, of which the name of the argument is part.
@pytest.mark.parametrize(
    "keywords", [{"hidden_size": 2.5}, {"input_size": "3"}, {"bias": 1}, {"batch_first": "yes"}, {"dropout": True}]
)
def test_arguments_of_the_wrong_kind(keywords: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(keywords))):
        unroll.GRU(**({"input_size": 3, "hidden_size": 4} | keywords))


def test_a_cell_that_is_none() -> None:
    with pytest.raises(TypeError, match="cell"):
        unroll.Recurrent(str, 3, 4)  # type: ignore[arg-type]


def test_dropout_of_a_single_layer_is_warned_of_as_in_torch() -> None:
    for kind in (nn.GRU, unroll.GRU):
        with pytest.warns(UserWarning, match="dropout"):
            kind(3, 4, dropout=0.1)


def test_no_kernel_projects() -> None:
    with pytest.raises(ValueError, match=r"backend: no kernel projects; use backend='auto' or 'reference'"):
        unroll.LSTM(3, 4, proj_size=2, backend="fused")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 2, 4), r"input: expected \(time, batch, 3\), .* or \(time, 3\), found \(5, 2, 4\)"),
        ((5,), r"input: expected .*, found \(5,\)"),
        ((1, 5, 2, 3), r"input: expected .*, found \(1, 5, 2, 3\)"),
        ((0, 2, 3), r"input: expected at least one step, found shape .* \(0, 2, 3\)"),
        ((0, 3), r"input: expected at least one step"),
    ],
)
def test_input_of_the_wrong_shape(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unroll.GRU(3, 4)(torch.zeros(shape))


def test_packed_input_of_the_wrong_size() -> None:
    packed = pack_padded_sequence(torch.zeros(5, 2, 4), torch.tensor([5, 3]))
    with pytest.raises(ValueError, match=r"input: expected packed data \(steps, 3\), found \(8, 4\)"):
        unroll.GRU(3, 4)(packed)


def test_input_of_another_dtype_or_device() -> None:
    with pytest.raises(ValueError, match=r"input: it is torch.float64, the layer works in torch.float32; convert one"):
        unroll.GRU(3, 4)(torch.zeros(5, 2, 3, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"input: it is on cpu, the layer works on meta; move one"):
        unroll.GRU(3, 4, device="meta")(torch.zeros(5, 2, 3))


def test_autocast_brings_dtypes_together() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        output, last = unroll.LSTM(3, 4, 2)(torch.zeros(5, 2, 3, dtype=torch.bfloat16))
    assert output.isfinite().all() and len(last) == 2


def test_initial_state_that_does_not_fit() -> None:
    input = torch.zeros(5, 2, 3)
    with pytest.raises(ValueError, match=r"hx: expected shape \(1, 2, 4\) for h, found \(2, 4\)"):
        unroll.GRU(3, 4)(input, torch.zeros(2, 4))
    with pytest.raises(ValueError, match=r"hx: expected 2 state\(s\) \('h', 'c'\), found 1"):
        unroll.LSTM(3, 4)(input, torch.zeros(1, 2, 4))
    with pytest.raises(ValueError, match=r"hx: expected shape \(1, 2, 2\) for h, found \(1, 2, 4\)"):
        unroll.LSTM(3, 4, proj_size=2)(input, (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)))
    with pytest.raises(ValueError, match=r"hx: expected shape \(1, 4\) for h, found \(1, 1, 4\)"):
        unroll.GRU(3, 4)(input[:, 0], torch.zeros(1, 1, 4))
    with pytest.raises(ValueError, match=r"hx: it is torch.float64, the layer works in torch.float32"):
        unroll.GRU(3, 4)(input, torch.zeros(1, 2, 4, dtype=torch.float64))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([5, 0], r"lengths: expected between 1 and the 5 steps there are, found \[5, 0\]"),
        ([6, 1], r"lengths: expected between 1 and the 5 steps there are, found \[6, 1\]"),
        ([5], r"lengths: expected 2 whole numbers, one per sample, found torch.int64 of shape \(1,\)"),
        (torch.ones(2), r"lengths: expected 2 whole numbers, one per sample, found torch.float32"),
    ],
)
def test_lengths_that_do_not_fit(lengths: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        unroll.GRU(3, 4)(torch.zeros(5, 2, 3), lengths=lengths)


def test_lengths_of_what_has_none() -> None:
    packed = pack_padded_sequence(torch.zeros(5, 2, 3), torch.tensor([5, 3]))
    with pytest.raises(ValueError, match=r"lengths: a packed sequence has lengths of its own; leave them out"):
        unroll.GRU(3, 4)(packed, lengths=[5, 3])
    with pytest.raises(ValueError, match=r"lengths: expected a batch of sequences, found an input of shape \(5, 3\)"):
        unroll.GRU(3, 4)(torch.zeros(5, 3), lengths=[5])


@pytest.mark.parametrize(
    ("batch_first", "mask", "message"),
    [
        (False, torch.zeros(5, 2), r"reset_mask: expected torch.bool of shape \(5, 2\), .* found torch.float32"),
        (False, torch.zeros(2, 5, dtype=torch.bool), r"of shape \(5, 2\), .* found torch.bool of shape \(2, 5\)"),
        (True, torch.zeros(5, 2, dtype=torch.bool), r"of shape \(2, 5\), .* found torch.bool of shape \(5, 2\)"),
    ],
)
def test_a_reset_mask_that_does_not_fit(batch_first: bool, mask: Any, message: str) -> None:
    input = torch.zeros(2, 5, 3) if batch_first else torch.zeros(5, 2, 3)
    with pytest.raises(ValueError, match=message):
        unroll.GRU(3, 4, batch_first=batch_first)(input, reset_mask=mask)


def test_a_step_of_what_cannot_be_stepped() -> None:
    with pytest.raises(ValueError, match=r"step: a bidirectional layer reads the sequence from its end too"):
        unroll.GRU(3, 4, bidirectional=True).step(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"input: expected a single step \(batch, 3\) or \(3,\), found \(5, 2, 3\)"):
        unroll.GRU(3, 4).step(torch.zeros(5, 2, 3))


def test_what_a_cell_says() -> None:
    with pytest.raises(ValueError, match="nonlinearity: expected one of"):
        unroll.RNN(3, 4, 1, "gelu")
    assert unroll.RNN(3, 4, nonlinearity="relu").cell == cells.RNN("relu")
