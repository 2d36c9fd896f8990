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


@pytest.mark.parametrize("window", [3, 5, 100])
def test_a_scalar_over_all_steps(window) -> None:
    """Only what passes from window to window is lost, not what the loss sends into the earlier ones."""
    model = Cutting(nn.LSTM, num_layers=2).double()
    exam = tt.examine(model, inputs(), loss=lambda output, _: output.square().mean(), window=window)
    every = torch.arange(1, STEPS + 1)
    cut, whole = (model.gradients(inputs(), min(some, STEPS), every) for some in (window, STEPS))
    for layer in range(2):
        names = [name for name in whole if name.endswith(f"l{layer}")]
        flat, of_whole = (torch.cat([one[name].flatten() for name in names]) for one in (cut, whole))
        expected = float((flat - of_whole).norm() / of_whole.norm())
        assert exam[f"layer.l{layer}"].attrs["window_error"] == pytest.approx(expected, rel=1e-9, abs=1e-12)


class Decoding(nn.Module):
    """An encoder and a decoder, both trained in windows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = Cutting(nn.GRU), Cutting(nn.GRU)

    def forward(self, inputs: Tensor) -> Tensor:
        state = None
        for window in inputs.split(self.encoder.window):
            # The last state is handed on whole.
            _, state = self.encoder.layer(window, None if state is None else state.detach())
        outputs = []
        for window in inputs.split(self.decoder.window):
            output, state = self.decoder.layer(window, state)
            state = state.detach()
            outputs.append(output)
        return torch.cat(outputs)


@pytest.mark.parametrize("window", [4, 100])
def test_an_encoder_is_read_by_the_first_window_of_its_decoder(window) -> None:
    model = Decoding().double()
    exam = tt.examine(model, inputs(), loss=loss, window=window)
    weights = list(model.encoder.parameters())
    whole = torch.autograd.grad(loss(model(inputs()), None).sum(), weights)
    model.encoder.window = model.decoder.window = window
    cut = torch.autograd.grad(loss(model(inputs()), None).sum(), weights)
    flat, of_whole = (torch.cat([one.flatten() for one in found]) for found in (cut, whole))
    expected = float((flat - of_whole).norm() / of_whole.norm())
    assert exam["encoder.layer.l0"].attrs["window_error"] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("window", [4, 5])
def test_in_reverse_a_window_is_read_from_its_end(window) -> None:
    """The reverse direction of a window does not learn from the next one."""
    torch.manual_seed(0)
    layer = nn.GRU(2, 4, bidirectional=True).double()
    exam = tt.examine(layer, inputs(), loss=lambda output, _: loss(output[0], None), window=window)
    back = nn.GRU(2, 4).double()
    for name, weight in back.named_parameters():
        weight.data = layer.get_parameter(f"{name}_reverse").data

    def gradient(cut):
        state, total = None, 0.0
        for part in reversed(inputs().split(window)):
            output, state = back(part.flip(0), state)
            state = state.detach() if cut else state
            total = total + output.square().sum()
        return torch.cat([one.flatten() for one in torch.autograd.grad(total, list(back.parameters()))])

    expected = float((gradient(True) - gradient(False)).norm() / gradient(False).norm())
    assert exam["l0.reverse"].attrs["window_error"] == pytest.approx(expected, rel=1e-9)


def test_beyond_max_lag_the_whole_gradient_is_known_all_the_same() -> None:
    model = Cutting(nn.LSTM).double()
    short, every = (tt.examine(model, inputs(), loss=loss, window=4, max_lag=lag) for lag in (6, None))
    expected = every["layer.l0"].attrs["window_error"]
    assert short["layer.l0"].attrs["window_error"] == pytest.approx(expected, rel=1e-9)
