"""The copy problem: what is drawn, and its baseline."""

import math

import pytest
import torch

from throughtime.tasks.copying import BEGIN, BLANK, LENGTH, SYMBOLS, baseline, copying


def drawn(wait=7, batch=5, seed=0):
    return copying(wait, batch, torch.Generator().manual_seed(seed))


def test_what_was_shown_is_asked_for_after_the_sign_to_begin():
    inputs, targets = drawn()
    assert inputs.shape == targets.shape == (7 + 20, 5)
    assert torch.equal(targets[-LENGTH:], inputs[:LENGTH]) and inputs[:LENGTH].max() < SYMBOLS
    assert (inputs[-LENGTH - 1] == BEGIN).all() and (inputs == BEGIN).sum() == 5
    assert (targets[:-LENGTH] == BLANK).all()
    assert (inputs[LENGTH : -LENGTH - 1] == BLANK).all() and (inputs[-LENGTH:] == BLANK).all()


def test_whoever_remembers_nothing_guesses_ten_of_eight():
    _, targets = drawn(wait=30)
    logits = torch.full((*targets.shape, SYMBOLS + 1), -math.inf)
    logits[:-LENGTH, :, BLANK] = 0
    logits[-LENGTH:, :, :SYMBOLS] = 0
    found = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    assert found.item() == pytest.approx(baseline(30), rel=1e-6)


def test_there_is_a_step_for_the_sign():
    assert (drawn(wait=1)[0][LENGTH] == BEGIN).all()
    with pytest.raises(ValueError, match="wait: expected at least 1 step, found 0"):
        drawn(wait=0)
