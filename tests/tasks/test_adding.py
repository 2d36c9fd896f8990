"""The adding problem: what is drawn, and its baseline."""

import pytest
import torch

from throughtime.tasks.adding import BASELINE, adding


def drawn(steps=11, batch=5, seed=0):
    return adding(steps, batch, torch.Generator().manual_seed(seed))


def test_the_target_is_the_sum_of_two_marked_numbers_one_in_each_half():
    inputs, targets = drawn()
    for sample, target in zip(inputs.unbind(1), targets, strict=True):
        first, second = sample[:, 1].nonzero().flatten().tolist()
        assert first < 5 <= second
        assert sample[first, 0] + sample[second, 0] == target
    assert ((inputs[..., 0] >= 0) & (inputs[..., 0] < 1)).all()


def test_whoever_always_answers_1_is_off_by_a_sixth():
    _, targets = drawn(batch=100_000)
    assert (targets - 1).square().mean().item() == pytest.approx(BASELINE, abs=3 * 0.2 / 100_000**0.5)


def test_the_seed_decides_everything():
    assert torch.equal(drawn()[0], drawn()[0]) and not torch.equal(drawn()[0], drawn(seed=1)[0])


def test_one_step_has_no_two_numbers():
    with pytest.raises(ValueError, match="steps: expected at least 2, found 1"):
        drawn(steps=1)
