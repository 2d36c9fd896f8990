"""Losses that read other steps than the last: lags are counted from what they read."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import rnn

import throughtime as tt

STEPS, BATCH, READ = 40, 6, 24


class Model(nn.Module):
    def __init__(self, **keywords: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.r = nn.GRU(2, 4, **keywords)
        self.o = nn.Linear(4 * (1 + self.r.bidirectional), 2)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.o(self.r(inputs)[0])


def inputs() -> Tensor:
    return torch.randn(STEPS, BATCH, 2, generator=torch.Generator().manual_seed(1))


def test_a_scalar_loss_of_a_step_is_that_of_a_sequence_that_ends_there() -> None:
    found = tt.examine(Model(), inputs(), loss=lambda output, _: output[READ - 1].square().sum())
    short = tt.examine(Model(), inputs()[:READ], loss=lambda output, _: output[-1].square().sum())
    (one,), (other,) = found.findings, short.findings
    assert one.verdict == other.verdict == "vanishing"
    assert found.reach() == short.reach()
    assert found["r.l0"].loss_step.values.tolist() == [READ]
    np.testing.assert_allclose(found["r.l0"].lag_profile, short["r.l0"].lag_profile, rtol=1e-6)
    np.testing.assert_allclose(found["r.l0"].decay_rate, short["r.l0"].decay_rate, rtol=1e-6)


def test_the_reverse_direction_of_a_classifier_on_the_last_step_sees_one_step() -> None:
    found = tt.examine(Model(bidirectional=True), inputs(), loss=lambda output, _: output[-1].square().sum())
    assert found.reach()["r.l0.reverse"] == 1
    assert found.reach()["r.l0"] > 1
    assert {finding.verdict for finding in found.findings} == {"vanishing", "healthy"}


def late(output: Tensor, _: object) -> Tensor:
    return torch.cat([torch.zeros(3), output[:-3].square().sum((1, 2))])


def test_losses_that_read_earlier_steps_do_not_explode() -> None:
    (finding,) = tt.examine(Model(), inputs(), loss=late).findings
    assert finding.verdict == "vanishing"
    assert finding.evidence.startswith("From lag 3 to lag 36 the derivative with respect to h falls by")


def gathered(output: Tensor, lengths: Tensor) -> Tensor:
    return output[lengths - 1, torch.arange(BATCH)].square().sum()


def test_it_is_said_where_samples_end_apart() -> None:
    lengths = torch.linspace(8, READ, BATCH).long()
    said = f"The loss reads samples up to steps 8 to {READ}, and lags are counted from the last"
    exam = tt.examine(Model(), inputs(), lengths, loss=gathered)
    assert said in exam.findings[0].evidence
    packed = rnn.pack_padded_sequence(inputs(), lengths, enforce_sorted=False)
    module = nn.GRU(2, 4)
    exam = tt.examine(module, (packed,), loss=lambda output, _: output[1].square().sum())
    assert said in exam.findings[0].evidence
    exam = tt.examine(Model(), inputs(), torch.full((BATCH,), READ), loss=gathered)
    assert "lags are counted" not in exam.findings[0].evidence


class InChunks(Model):
    """The same in two calls, the second from the state of the first."""

    def forward(self, inputs: Tensor) -> Tensor:
        first, state = self.r(inputs[: STEPS // 2])
        return self.o(torch.cat([first, self.r(inputs[STEPS // 2 :], state)[0]]))


def test_samples_that_end_in_another_chunk() -> None:
    """Both within the first, so that nothing of the second is read; and one in each."""
    for ends in ((8, 12), (8, STEPS // 2 + 4)):
        lengths = torch.tensor([ends[0]] * (BATCH - 1) + [ends[1]])
        exam = tt.examine(InChunks(), inputs(), lengths, loss=gathered)
        assert f"up to steps {ends[0]} to {ends[1]}, and lags" in exam.findings[0].evidence


def test_ends_are_told_as_steps_of_the_sequence_in_reverse_too() -> None:
    lengths = torch.linspace(8, READ, BATCH).long()
    exam = tt.examine(Model(bidirectional=True), inputs(), lengths, loss=gathered)
    told = {finding.recurrence: finding.evidence for finding in exam.findings}
    assert f"up to steps 8 to {READ}, and lags" in told["r.l0"]
    assert f"up to steps {READ} to 8, and lags" in told["r.l0.reverse"]


@pytest.mark.parametrize("steps", [1, STEPS])
def test_no_lag_at_all(steps: int) -> None:
    exam = tt.examine(Model(), inputs()[:steps], loss=lambda output, _: output.square().sum((1, 2)), max_lag=0)
    assert exam["r.l0"].lag.values.tolist() == [0]
