"""The main job in small: four networks, one text, the same batches, examined on what was held out."""

import math
import sys

import pytest
import torch
from torch import nn

from throughtime.compare import NETWORKS, Advance, next_character
from throughtime.compare.next_character import EXAMINED_BATCH, held_out_loss, trained
from throughtime.compare.next_token import NextToken, loss_per_step
from throughtime.tasks import corpus

TEXT = "the cats I saw this morning were very hungry.\n" * 200
STEPS, EXAMINED = 3, 40


@pytest.fixture(scope="module", autouse=True)
def short():
    """The same job over 40 steps instead of 160."""
    # By its full name the package's attribute is the function, not the module.
    module = sys.modules["throughtime.compare.next_character"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "EXAMINED_STEPS", EXAMINED)
        yield


@pytest.fixture(scope="module")
def run(short):
    """One run: what it returned and every progress it told."""
    told: list[Advance] = []
    return next_character(TEXT, STEPS, seed=1, on_progress=told.append), told


def test_four_networks_are_examined_on_held_out_text(run) -> None:
    examinations, _ = run
    assert list(examinations) == ["RNN", "Gated", "GRU", "LSTM"]
    for name, examination in examinations.items():
        assert examination.recurrences == ["recurrence.l0"]
        measures = examination["recurrence.l0"]
        assert measures["gradient_map"].sizes["loss_step"] == EXAMINED
        assert (measures.attrs["cell"], measures.attrs["batch"]) == (name, EXAMINED_BATCH)


def test_its_characters_come_with_it(run) -> None:
    examinations, _ = run
    tokens = {examination.tokens for examination in examinations.values()}
    assert len(tokens) == 1
    assert "".join(tokens.pop()) in TEXT


def test_each_says_how_well_it_predicts(run) -> None:
    for examination in run[0].values():
        *_, note = examination.notes
        assert note.endswith(" nats per held-out character after 3 steps of training.")


def test_progress_counts_every_step(run) -> None:
    for name in NETWORKS:
        training = [p for p in run[1] if (p.network, p.phase) == (name, "training")]
        examining = [p for p in run[1] if (p.network, p.phase) == (name, "examining")]
        assert [(p.done, p.total) for p in training] == [(1, STEPS), (2, STEPS), (3, STEPS)]
        assert all(p.loss is not None and math.isfinite(p.loss) for p in training)
        # Before its steps, that the model is run forward, backward and opened.
        assert [p.done for p in examining] == [0, 0, 0, *range(1, examining[-1].total + 1)]


def test_the_seed_decides_everything(run) -> None:
    before = torch.get_rng_state()
    again = next_character(TEXT, STEPS, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    for name, examination in run[0].items():
        assert examination.notes == again[name].notes
        assert examination["recurrence.l0"].equals(again[name]["recurrence.l0"])


def test_number_of_threads_is_as_before(run) -> None:
    threads = torch.get_num_threads()
    with pytest.raises(ValueError, match="at least 5000 characters"):
        next_character("too short")
    assert torch.get_num_threads() == threads


def test_steps_0_examines_what_is_untrained() -> None:
    data = corpus(TEXT)
    model = trained("GRU", data, 0, 0, lambda progress: pytest.fail("there is nothing to train"))
    assert held_out_loss(model, data, 0) == pytest.approx(math.log(len(data.vocabulary)), abs=0.2)


@pytest.mark.parametrize("name", NETWORKS)
def test_they_learn(name: str) -> None:
    data = corpus(TEXT)
    losses = [held_out_loss(trained(name, data, steps, 0, lambda progress: None), data, 0) for steps in (0, 60)]
    assert losses[1] < 0.8 * losses[0]


def test_ten_steps_do_not_divide_by_zero() -> None:
    assert trained("RNN", corpus(TEXT), 10, 0, lambda progress: None)


def test_loss_per_step_adds_up_to_torchs() -> None:
    output, targets = torch.randn(5, 3, 7), torch.randint(7, (5, 3))
    losses = loss_per_step(output, targets)
    assert losses.shape == (5,)
    expected = nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten(), reduction="sum")
    torch.testing.assert_close(losses.sum(), expected)


def test_logits_are_causal() -> None:
    model, inputs = NextToken(nn.GRU(32, 128), 9), torch.randint(9, (6, 2))
    changed = inputs.clone()
    changed[4:] = 0
    assert torch.equal(model(inputs)[:4], model(changed)[:4])
