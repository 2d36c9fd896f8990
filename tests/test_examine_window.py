"""What a training that cuts the graph after every so many steps loses, against that training."""

import pytest
import torch
from torch import Tensor, nn

import throughtime as tt

STEPS, BATCH = 13, 3


def loss(output: Tensor, _: Tensor | None) -> Tensor:
    return output.square().sum((1, 2))


class Cutting(nn.Module):
    """Hands its state from window to window, without its graph where windows are shorter than the sequence."""

    def __init__(self, kind: type[nn.Module], **keywords) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.window = kind(2, 4, **keywords), STEPS

    def forward(self, inputs: Tensor) -> Tensor:
        state, outputs = None, []
        for window in inputs.split(self.window):
            output, state = self.layer(window, state)
            state = tuple(one.detach() for one in state) if isinstance(state, tuple) else state.detach()
            outputs.append(output)
        return torch.cat(outputs)

    def gradients(self, inputs: Tensor, window: int, steps: Tensor) -> dict[str, Tensor]:
        self.window = window
        found = torch.autograd.grad(loss(self(inputs), None)[steps - 1].sum(), list(self.parameters()))
        self.window = STEPS
        return {name.removeprefix("layer."): one for (name, _), one in zip(self.named_parameters(), found, strict=True)}


class Looping(Cutting):
    """The same, called step by step."""

    def forward(self, inputs: Tensor) -> Tensor:
        state, outputs = None, []
        for step, x in enumerate(inputs.split(1)):
            if step and step % self.window == 0:
                state = tuple(one.detach() for one in state) if isinstance(state, tuple) else state.detach()
            output, state = self.layer(x, state)
            outputs.append(output)
        return torch.cat(outputs)


def inputs() -> Tensor:
    return torch.randn(STEPS, BATCH, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("window", [1, 4, 12])
@pytest.mark.parametrize("steps", ["all", 5])
@pytest.mark.parametrize("build", [Cutting, Looping])
@pytest.mark.parametrize(("kind", "layers"), [(nn.LSTM, 2), (nn.RNN, 1), (tt.GRU, 2)])
def test_the_gradient_of_a_training_in_windows(build, kind, layers, steps, window) -> None:
    model = build(kind, num_layers=layers).double()
    exam = tt.examine(model, inputs(), loss=loss, window=window, loss_steps=steps)
    followed = torch.tensor(exam["layer.l0"].loss_step.values)
    cut, whole = (model.gradients(inputs(), some, followed) for some in (window, STEPS))
    for layer in range(layers):
        names = [name for name in whole if name.endswith(f"l{layer}")]
        flat, of_whole = (torch.cat([one[name].flatten() for name in names]) for one in (cut, whole))
        expected = float((flat - of_whole).norm() / of_whole.norm())
        assert exam[f"layer.l{layer}"].attrs["window_error"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("reverse", [False, True])
def test_where_windows_begin(reverse) -> None:
    """In reverse, what is read first in a window is its last step."""
    labels = torch.arange(1, STEPS + 1)
    positions = STEPS + 1 - labels if reverse else labels
    film = tt.measures.Film(("h",), STEPS, BATCH, labels, positions, reverse=reverse)
    begins = film.window_begins(4)
    expected = [STEPS + 1 - min(STEPS, -(-t // 4) * 4) if reverse else (t - 1) // 4 * 4 + 1 for t in labels.tolist()]
    assert begins.tolist() == expected


def test_beyond_max_lag_the_whole_gradient_is_known_all_the_same() -> None:
    model = Cutting(nn.LSTM).double()
    short, every = (tt.examine(model, inputs(), loss=loss, window=4, max_lag=lag) for lag in (6, None))
    expected = every["layer.l0"].attrs["window_error"]
    assert short["layer.l0"].attrs["window_error"] == pytest.approx(expected, rel=1e-9)
