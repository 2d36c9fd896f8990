"""Maps, weight terms and reach of whole models against hand-unrolled twins and plain autograd."""

import numpy as np
import pytest
import torch
from torch import nn

import naive
import throughtime as tt

STEPS, BATCH, FEATURES, HIDDEN, CLASSES = 9, 3, 4, 5, 6
KINDS = {
    "tanh": lambda *a, **k: nn.RNN(*a, **k),
    "relu": lambda *a, **k: nn.RNN(*a, nonlinearity="relu", **k),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
    "projected lstm": lambda *a, **k: nn.LSTM(*a, proj_size=3, **k),
    "gated": tt.Gated,
    "own gru": tt.GRU,
    "own lstm": tt.LSTM,
}


class Model(nn.Module):
    def __init__(self, recurrence: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, FEATURES)
        self.recurrence = recurrence
        width = naive.sizes(recurrence)[0] * (1 + recurrence.bidirectional)
        self.norm, self.readout = nn.LayerNorm(width), nn.Linear(width, CLASSES)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        inputs = self.embedding(ids)
        if self.recurrence.batch_first:
            return self.after(self.recurrence(inputs.transpose(0, 1))[0].transpose(0, 1))
        return self.after(self.recurrence(inputs)[0])

    def after(self, states: torch.Tensor) -> torch.Tensor:
        return self.readout(self.norm(states))


def loss_per_step(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    losses = nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.reshape(targets.shape).sum(1)


def case(kind: str, dtype: torch.dtype = torch.float64, **keywords):
    torch.manual_seed(0)
    model = Model(KINDS[kind](FEATURES, HIDDEN, **keywords)).to(dtype)
    ids, targets = torch.randint(CLASSES, (2, STEPS, BATCH))
    exam = tt.examine(model, ids, targets, loss=loss_per_step)
    twin = model.double()
    unrolled = naive.layers(model.recurrence, list(twin.embedding(ids).unbind(0)))
    losses = list(loss_per_step(twin.after(torch.stack(unrolled.outputs)), targets).unbind(0))
    return exam, losses, unrolled.runs


def in_sequence(values: torch.Tensor, name: str, axis: int) -> np.ndarray:
    return (values.flip(axis) if name.endswith("reverse") else values).numpy()


def compare(exam: tt.Examination, losses: list[torch.Tensor], runs: dict[str, naive.Run], tolerance: float) -> None:
    assert exam.recurrences == [f"recurrence.{name}" for name in runs]
    for name, run in runs.items():
        dataset = exam[f"recurrence.{name}"]
        for state, states in (("h", run.hidden), ("c", run.carried)):
            if state in dataset.state.values:
                expected = in_sequence(naive.gradient_map(losses, states), name, 1)
                np.testing.assert_allclose(dataset.gradient_map.sel(state=state), expected, rtol=0, atol=tolerance)
        gradients = []
        for weight in run.copies[0]:
            terms = naive.weight_terms(losses, run, weight)
            found = exam.weight_terms(f"recurrence.{name}", weight)
            norms = torch.linalg.vector_norm(terms.flatten(2), dim=-1)
            np.testing.assert_allclose(found.norm, in_sequence(norms, name, 1), rtol=tolerance, atol=tolerance * 1e-3)
            assert found.attrs["relative_error"] < 100 * tolerance
            gradients.append(by_lag(terms, found.lag.values, name.endswith("reverse")))
            expected = torch.linalg.vector_norm(gradients[-1], dim=-1)
            np.testing.assert_allclose(found.norm_by_lag, expected, rtol=tolerance, atol=tolerance * 1e-3)
        check_truncation(dataset, torch.cat(gradients, dim=-1), found.lag.values, tolerance)


def by_lag(terms: torch.Tensor, lags: np.ndarray, reverse: bool) -> torch.Tensor:
    """(lag, weights)"""
    loss_step = torch.arange(1, STEPS + 1)
    position = STEPS + 1 - loss_step if reverse else loss_step
    lag = position[:, None] - torch.arange(1, STEPS + 1)
    return torch.stack([terms[lag == k].flatten(1).sum(0) for k in lags.tolist()])


def check_truncation(dataset, gradients: torch.Tensor, lags: np.ndarray, tolerance: float) -> None:
    full = gradients.sum(0)
    for window in dataset.window.values:
        kept = gradients[np.abs(lags) < window].sum(0)
        expected = (kept - full).norm() / full.norm()
        assert float(dataset.truncation_error.sel(window=window)) == pytest.approx(
            float(expected), rel=1e-2, abs=tolerance
        )
    share = gradients @ full / full.square().sum()
    np.testing.assert_allclose(dataset.gradient_share.sel(lag=lags), share, rtol=0, atol=100 * tolerance)
    assert float(dataset.gradient_share.sum()) == pytest.approx(1, abs=100 * tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"num_layers": 2},
        {"bidirectional": True},
        {"num_layers": 2, "bidirectional": True},
        {"batch_first": True, "bias": False},
    ],
    ids=str,
)
def test_everything_equals_autograd_in_float64(kind, keywords):
    compare(*case(kind, **keywords), tolerance=1e-9)


# torch says once that it has no faster kernel for a projection.
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", KINDS)
def test_everything_equals_autograd_in_float32(kind):
    compare(*case(kind, torch.float32, num_layers=2), tolerance=1e-4)


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, 1e-12), (torch.float32, 2e-6)], ids=str)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", ["tanh", "relu", "gated", "gru", "lstm", "projected lstm"])
def test_causes_add_up_to_the_map(kind, dtype, rounding):
    exam, _, _ = case(kind, dtype, num_layers=2)
    for name in exam:
        causes = exam.causes(name)
        column = exam[name].gradient_map.sel(state=causes.attrs["state"]).values
        with np.errstate(invalid="ignore"):
            change = column[:, :-1] - column[:, 1:]
        summed = causes.nats.sum("cause", skipna=False).values
        followed = np.tril(np.ones_like(change, dtype=bool))
        np.testing.assert_allclose(summed[followed], change[followed], rtol=0, atol=rounding)
        np.testing.assert_allclose(causes.share.sum("path", skipna=False).values[followed], 1, atol=rounding)
        if name == exam.recurrences[-1]:
            # A loss reads the last layer at its own step only, so that all that changes after it, the paths change.
            np.testing.assert_allclose(causes.nats.sel(cause="entering").values[followed], 0, atol=10 * rounding)
        # Over a stretch of steps the sum is the difference of two entries of the map.
        assert summed[-1, 2:7].sum() == pytest.approx(column[-1, 2] - column[-1, 7], abs=10 * rounding)
