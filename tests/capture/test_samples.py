"""Along which axis samples lie, told by what passes from step to step."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import throughtime as tt

STEPS, BATCH, SIZE = 7, 3, 4


class Columns(nn.Module):
    """h_t = tanh(W_hx x_t + W_hh h_{t-1}), one column a sample, as it stands in a book."""

    def __init__(self, slope=torch.tanh) -> None:
        super().__init__()
        self.slope = slope
        self.w_hx, self.w_hh = (nn.Parameter(torch.randn(SIZE, SIZE).double() / 2) for _ in range(2))
        self.w_oh = nn.Parameter(torch.randn(2, SIZE).double())

    def forward(self, inputs: Tensor) -> Tensor:
        h, outputs = inputs.new_zeros(SIZE, inputs.shape[2]), []
        for x in inputs:
            h = self.slope(self.w_hx @ x + self.w_hh @ h)
            outputs.append(self.w_oh @ h)
        return torch.stack(outputs)


class ColumnsLSTM(Columns):
    """With a second state that is passed on unit by unit."""

    def forward(self, inputs: Tensor) -> Tensor:
        h, c, outputs = inputs.new_zeros(SIZE, inputs.shape[2]), inputs.new_zeros(SIZE, inputs.shape[2]), []
        for x in inputs:
            total = self.w_hx @ x + self.w_hh @ h
            c = torch.sigmoid(total) * c + torch.tanh(total)
            h = torch.sigmoid(total) * torch.tanh(c)
            outputs.append(self.w_oh @ h)
        return torch.stack(outputs)


class Layers(nn.Module):
    """Two layers whose states are one tensor, (layer, sample, unit)."""

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper = nn.Linear(2 * SIZE, SIZE), nn.Linear(2 * SIZE, SIZE)

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        lower = torch.tanh(self.lower(torch.cat((x, h[0]), -1)))
        return torch.stack((lower, torch.tanh(self.upper(torch.cat((lower, h[1]), -1)))))

    def forward(self, inputs: Tensor) -> Tensor:
        h, outputs = inputs.new_zeros(2, inputs.shape[1], SIZE), []
        for x in inputs:
            h = self.step(x, h)
            outputs.append(h[1])
        return torch.stack(outputs)


def drawn(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(*shape, dtype=torch.float64)


def summed(output: Tensor, _: object) -> Tensor:
    return output.square().sum((1, 2))


def naive(model: Columns, inputs: Tensor) -> np.ndarray:
    """ln sqrt(mean over the columns of |dl_t/dh_i|^2), by one pass of autograd a loss; (loss_step, state_step)."""
    states, losses = [inputs.new_zeros(SIZE, inputs.shape[2]).requires_grad_()], []
    for x in inputs:
        states.append(model.slope(model.w_hx @ x + model.w_hh @ states[-1]))
        losses.append((model.w_oh @ states[-1]).square().sum())
    rows = [torch.autograd.grad(one, states, retain_graph=True, materialize_grads=True) for one in losses]
    squares = torch.stack([torch.stack([one.square().sum(0).mean() for one in row]) for row in rows])
    return (squares.log() / 2).numpy()


@pytest.mark.parametrize("batch", [1, BATCH])
@pytest.mark.parametrize("slope", [torch.tanh, torch.relu])
def test_samples_may_be_columns(slope, batch) -> None:
    inputs, model = drawn(STEPS, SIZE, batch), Columns(slope)
    found = tt.examine(model, inputs, loss=summed)["loop"]
    assert (found.attrs["batch"], found.attrs["hidden_size"]) == (batch, SIZE)
    np.testing.assert_allclose(found["gradient_map"].sel(state="h"), naive(model, inputs), rtol=1e-9)


def test_a_state_that_is_passed_on_unit_by_unit_has_its_samples_where_the_other_has() -> None:
    inputs = drawn(STEPS, SIZE, BATCH)
    found = tt.examine(ColumnsLSTM(), inputs, loss=summed)["loop"]
    assert list(found.state.values) == ["h", "c"]
    assert (found.attrs["batch"], found.attrs["hidden_size"]) == (BATCH, SIZE)


def test_samples_stand_behind_layers() -> None:
    inputs = drawn(STEPS, BATCH, SIZE)
    found = tt.examine(Layers().double(), inputs, loss=summed)["step"]
    assert (found.attrs["batch"], found.attrs["hidden_size"]) == (BATCH, 2 * SIZE)


def test_where_everything_is_mixed_samples_are_the_first_axis() -> None:
    class Normalised(Columns):
        """What a sample does depends on all others."""

        def forward(self, inputs: Tensor) -> Tensor:
            h, outputs = inputs.new_zeros(inputs.shape[1], SIZE), []
            for x in inputs:
                total = x @ self.w_hx + h @ self.w_hh
                h = torch.tanh(total - total.mean(0))
                outputs.append(h)
            return torch.stack(outputs)

    found = tt.examine(Normalised(), drawn(STEPS, BATCH, SIZE), loss=summed)["loop"]
    assert (found.attrs["batch"], found.attrs["hidden_size"]) == (BATCH, SIZE)
