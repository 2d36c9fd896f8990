"""The comparison of five networks on number agreement. Which of them learns more is not a test's business."""

import math

import pytest
import torch
from torch import nn

from throughtime.compare import agreement as by_distance
from throughtime.compare.agreement import Accuracy, accuracy, agreement, reach
from throughtime.compare.next_token import loss_per_step
from throughtime.compare.next_word import LAYERS, LONGEST, trained, untrained
from throughtime.tasks.agreement import VOCABULARY, batch


class Oracle(nn.Module):
    """Says what it is told to, at every step: "were" for plural sentences, or the opposite."""

    def __init__(self, plural, right=True):
        super().__init__()
        self.likely = torch.where(plural == right, VOCABULARY.ids["were"], VOCABULARY.ids["was"])

    def forward(self, words):
        logits = torch.zeros(*words.shape, len(VOCABULARY))
        return logits.scatter(2, self.likely.expand(len(words), -1).unsqueeze(-1), 1.0)


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(by_distance, "SENTENCES", 10)
    monkeypatch.setattr(by_distance, "EXAMINED", 2)


def test_accuracy_counts_the_right_verbs():
    sentences = batch([5] * 50, torch.Generator().manual_seed(0))
    assert accuracy(Oracle(sentences.plural), sentences) == Accuracy(5, 50, 50)
    assert accuracy(Oracle(sentences.plural, right=False), sentences) == Accuracy(5, 0, 50)


def test_whoever_finds_both_verbs_equally_likely_knows_nothing():
    sentences = batch([5] * 50, torch.Generator().manual_seed(0))

    class Silent(nn.Module):
        def forward(self, words):
            return torch.zeros(*words.shape, len(VOCABULARY))

    assert accuracy(Silent(), sentences).correct == 0


def test_wilson_interval():
    # 8 of 10, 95 %: 0.4901625 to 0.9433178, the example of Newcombe's tables.
    assert Accuracy(1, 8, 10).interval == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert Accuracy(1, 10, 10).interval[1] == 1
    assert Accuracy(1, 0, 10).interval[0] == 0


def test_the_loss_of_padding_is_zero():
    sentences = batch([1, 9], torch.Generator().manual_seed(0))
    losses = loss_per_step(torch.zeros(*sentences.inputs.shape, len(VOCABULARY)), sentences.targets)
    assert losses.tolist() == pytest.approx([n * math.log(len(VOCABULARY)) for n in sentences.mask.sum(1).tolist()])


def test_all_networks_see_the_same_and_report_their_steps():
    calls = []
    networks = trained(steps=2, seed=1, on_progress=lambda *call: calls.append(call))
    assert list(networks) == list(LAYERS)
    assert calls == [(done, 2, name) for name in LAYERS for done in (1, 2)]
    again = trained(steps=2, seed=1)
    for name, network in networks.items():
        for one, same, first in zip(
            network.parameters(), again[name].parameters(), untrained(name, 1).parameters(), strict=True
        ):
            assert torch.equal(one, same)
            assert not torch.equal(one, first)


def test_training_leaves_the_random_state_alone():
    before = torch.random.get_rng_state()
    trained(steps=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_comparison(few):
    networks = {name: untrained(name) for name in ("RNN", "LSTM")}
    compared = agreement(networks, steps=0, seed=5)
    assert [contestant.name for contestant in compared.contestants] == ["RNN", "LSTM"]
    for contestant in compared.contestants:
        assert [one.distance for one in contestant.accuracies] == list(by_distance.DISTANCES)
        assert all(one.sentences == 10 for one in contestant.accuracies)
        assert 1 <= contestant.reach <= LONGEST + 1
    assert compared == agreement(networks, steps=0, seed=5)
    assert compared.contestants[0].parameters < compared.contestants[1].parameters


def test_the_reach_is_that_of_the_loss_at_the_verb():
    network = untrained("RNN")
    with torch.no_grad():
        network.recurrence.weight_hh_l0.zero_()
    # Without recurrent weights only the word before the verb takes part.
    assert reach(network, batch([7] * 3, torch.Generator().manual_seed(0))) == 1
