"""Padded batches with lengths, sequences that follow one another within a sample, and the states of every step."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pairwise import named, pairwise
from throughtime import unroll

INPUT, HIDDEN, TIME = 3, 4, 7
LENGTHS = [4, 7, 1, 6]
BATCH = len(LENGTHS)
KINDS: dict[str, Any] = {
    "gated": lambda **keywords: unroll.Gated(INPUT, HIDDEN, **keywords),
    "lstm": lambda **keywords: unroll.LSTM(INPUT, HIDDEN, **keywords),
    "projected": lambda **keywords: unroll.LSTM(INPUT, HIDDEN, proj_size=2, **keywords),
}
CONFIGURATIONS = pairwise(
    {
        "cell": KINDS,
        "num_layers": (1, 2),
        "bidirectional": (False, True),
        "batch_first": (False, True),
        "started": (False, True),
    }
)


def drawn(cell: str, started: bool, **keywords: Any) -> tuple[unroll.Recurrent, Tensor, tuple[Tensor, ...] | None]:
    """A layer, a time-first batch, and the states to start from, as a tuple."""
    torch.manual_seed(0)
    layer = KINDS[cell](dtype=torch.float64, **keywords)
    zeros = listed(layer.initial_state(BATCH))
    initial = tuple(torch.randn_like(state) for state in zeros) if started else None
    return layer, torch.randn(TIME, BATCH, INPUT, dtype=torch.float64), initial


def listed(states: Any) -> tuple[Tensor, ...]:
    return (states,) if isinstance(states, Tensor) else states


def as_hx(states: tuple[Tensor, ...] | None) -> Any:
    return states if states is None or len(states) > 1 else states[0]


def time_first(layer: unroll.Recurrent, sequence: Tensor) -> Tensor:
    """From a time-first sequence to the layer's own layout, or back."""
    return sequence.transpose(0, 1) if layer.batch_first else sequence


def assert_equal(found: Any, expected: Any) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CONFIGURATIONS, ids=named)
def test_lengths_are_the_packed_sequence(case: dict[str, Any]) -> None:
    layer, input, initial = drawn(**case)
    packed, last = layer(pack_padded_sequence(input, torch.tensor(LENGTHS), enforce_sorted=False), as_hx(initial))
    expected = pad_packed_sequence(packed)[0]
    for lengths in (LENGTHS, torch.tensor(LENGTHS, dtype=torch.int32)):
        output, final = layer(time_first(layer, input), as_hx(initial), lengths=lengths)
        assert_equal(time_first(layer, output), expected)
        assert_equal(final, last)


def test_what_stands_in_the_padding_counts_nowhere() -> None:
    layer, input, _ = drawn("lstm", False, num_layers=2, bidirectional=True)
    gradients, outputs = [], []
    for padding in (0.0, torch.nan, torch.inf):
        given = input.clone()
        for sample, length in enumerate(LENGTHS):
            given[length:, sample] = padding
        given.requires_grad_()
        output, (h, c) = layer(given, lengths=LENGTHS)
        outputs.append((output, h, c))
        loss = output.sin().sum() + h.sum() + c.sum()
        gradients.append(torch.autograd.grad(loss, [given, *layer.parameters()]))
    for found in (1, 2):
        assert_equal(outputs[found], outputs[0])
        assert_equal(gradients[found], gradients[0])
    padding = torch.arange(TIME).unsqueeze(1) >= torch.tensor(LENGTHS)
    assert (outputs[0][0][padding] == 0).all()
    assert (gradients[0][0][padding] == 0).all()


@pytest.mark.parametrize("case", CONFIGURATIONS, ids=named)
def test_a_reset_begins_a_new_sequence(case: dict[str, Any]) -> None:
    """The layer on a sample with resets is the layer on its parts, each from zeros but the first."""
    layer, input, initial = drawn(**case)
    borders = {0: [2, 5], 1: [0, 3], 2: [], 3: [1, 2, 6]}
    mask = torch.zeros(TIME, BATCH, dtype=torch.bool)
    for sample, steps in borders.items():
        mask[steps, sample] = True
    output, final = layer(time_first(layer, input), as_hx(initial), reset_mask=time_first(layer, mask))
    for sample, steps in borders.items():
        edges = [0, *(step for step in steps if step), TIME]
        parts = [input[start:end, sample] for start, end in itertools.pairwise(edges)]
        start = listed(layer.initial_state()) if initial is None else tuple(state[:, sample] for state in initial)
        ends = one_by_one(layer, parts, start, reset_at_once=0 in steps)
        assert_equal(time_first(layer, output)[:, sample], torch.cat([one for one, _ in ends]))
        for name, found in zip(layer.cell.states, listed(final), strict=True):
            place = layer.cell.states.index(name)
            expected = listed(ends[-1][1])[place].clone()
            if layer.bidirectional:
                expected[1::2] = listed(ends[0][1])[place][1::2]
            assert_equal(found[:, sample], expected)


def one_by_one(layer: unroll.Recurrent, parts: list[Tensor], initial: Any, reset_at_once: bool) -> list[Any]:
    """What a layer gives on every part; what was given starts the first part, and in reverse the last one."""
    results = []
    for number, part in enumerate(parts):
        states = tuple(torch.zeros_like(state) for state in initial)
        for mine, given in zip(states, initial, strict=True):
            if number == 0 and not reset_at_once:
                mine[:: layer.num_directions] = given[:: layer.num_directions]
            if number == len(parts) - 1 and layer.bidirectional:
                mine[1::2] = given[1::2]
        results.append(layer(part, as_hx(states)))
    return results


def test_resets_within_lengths() -> None:
    """A border in the padding is none."""
    layer, input, _ = drawn("lstm", False, bidirectional=True)
    mask = torch.zeros(TIME, BATCH, dtype=torch.bool)
    mask[2, :2] = True
    output, final = layer(input, lengths=LENGTHS, reset_mask=mask)
    for sample, length in enumerate(LENGTHS):
        mask[length:, sample] = True
    found, found_final = layer(input, lengths=LENGTHS, reset_mask=mask)
    assert_equal(found, output)
    assert_equal(found_final, final)
    expected = layer(input[:4, 0], reset_mask=mask[:4, 0])
    assert_equal(output[:4, 0], expected[0])
    assert_equal([state[:, 0] for state in final], list(expected[1]))


@pytest.mark.parametrize("form", ["padded", "unbatched", "lengths", "packed"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_all_states(batch_first: bool, form: str) -> None:
    """Run to every step, the layer ends in these states."""
    layer, input, _ = drawn("projected", False, num_layers=2, batch_first=batch_first)
    given: Any = time_first(layer, input)
    lengths, keywords = [TIME] * BATCH, {}
    if form == "unbatched":
        given = input[:, 0]
    if form == "lengths":
        lengths = LENGTHS
        keywords = {"lengths": lengths}
    if form == "packed":
        lengths = LENGTHS
        given = pack_padded_sequence(given, torch.tensor(lengths), batch_first, enforce_sorted=False)
    *_, every = layer(given, **keywords, return_all_states=True)
    assert [state.shape[-1] for state in every] == [2, HIDDEN]
    if form == "unbatched":
        every = tuple(state.unsqueeze(2) for state in every)
    elif batch_first:
        every = tuple(state.transpose(1, 2) for state in every)
    for sample in range(1 if form == "unbatched" else BATCH):
        for step in range(TIME):
            found = [state[:, step, sample] for state in every]
            if step < lengths[sample]:
                assert_equal(found, list(layer(input[: step + 1, sample])[1]))
            else:
                assert all((state == 0).all() for state in found)


def test_all_states_of_the_reverse_direction_stand_in_the_order_of_the_sequence() -> None:
    layer, input, _ = drawn("gated", False, bidirectional=True)
    output, final, every = layer(input, return_all_states=True)
    assert_equal(torch.cat([every[0], every[1]], dim=-1), output)
    assert_equal(torch.stack([every[0, -1], every[1, 0]]), final)
