"""Losses that read a recurrence at other steps than their own, where there are as many losses as steps."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import throughtime as tt

STEPS, BATCH, SIZE = 10, 3, 4
NOTE = "at other steps than their own"


def loss(output: Tensor, targets: Tensor) -> Tensor:
    return (output - targets).square().sum((1, 2))


def data() -> Tensor:
    return torch.randn(STEPS, BATCH, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Bidirectional(nn.Module):
    """The reverse direction of torch's layer alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.readout = nn.GRU(SIZE, SIZE, bidirectional=True), nn.Linear(SIZE, SIZE)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout(self.layer(inputs)[0][..., SIZE:])


class TurnedAround(nn.Module):
    """The same by hand."""

    def __init__(self, same: Bidirectional) -> None:
        super().__init__()
        self.layer, self.readout = nn.GRU(SIZE, SIZE), same.readout
        for name, weight in self.layer.named_parameters():
            weight.data = same.layer.get_parameter(f"{name}_reverse").data

    def forward(self, inputs: Tensor) -> Tensor:
        return self.readout(self.layer(inputs.flip(0))[0].flip(0))


class Backwards(nn.Module):
    """The same as a loop over a cell that begins at the end."""

    def __init__(self, same: Bidirectional) -> None:
        super().__init__()
        self.cell, self.readout = nn.GRUCell(SIZE, SIZE), same.readout
        for name, weight in self.cell.named_parameters():
            weight.data = same.layer.get_parameter(f"{name}_l0_reverse").data

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        return self.cell(x, h)

    def forward(self, inputs: Tensor) -> Tensor:
        h, outputs = inputs.new_zeros(BATCH, SIZE), []
        for x in inputs.flip(0):
            h = self.step(x, h)
            outputs.insert(0, self.readout(h))
        return torch.stack(outputs)


class WrittenOut(Backwards):
    """The same with a step of one's own."""

    def step(self, x: Tensor, h: Tensor) -> Tensor:
        cell = self.cell
        of_x = nn.functional.linear(x, cell.weight_ih, cell.bias_ih).chunk(3, -1)
        of_h = nn.functional.linear(h, cell.weight_hh, cell.bias_hh).chunk(3, -1)
        reset, keep = ((of_x[gate] + of_h[gate]).sigmoid() for gate in (0, 1))
        return keep * h + (1 - keep) * (of_x[2] + reset * of_h[2]).tanh()


@pytest.mark.parametrize("by_hand", [TurnedAround, Backwards, WrittenOut])
def test_a_sequence_turned_around_by_hand_has_the_lags_of_a_reverse_direction(by_hand: type[nn.Module]) -> None:
    torch.manual_seed(0)
    reverse = Bidirectional().double()
    whole = tt.examine(reverse, data(), data(), loss, seed=1)
    exam = tt.examine(by_hand(reverse).double(), data(), data(), loss, seed=1)
    (name,) = exam.recurrences
    assert any(NOTE in note for note in exam.notes)
    found, expected = exam[name], whole["layer.l0.reverse"]
    assert exam.reach(0.9)[name] == whole.reach(0.9)["layer.l0.reverse"]
    assert found.lag.values[0] == 0
    # Turned around, loss t reads the state after T + 1 - t steps; the reverse direction keeps the sequence's numbers.
    assert found.counted_from.values.tolist() == list(range(STEPS, 0, -1))
    assert expected.counted_from.values.tolist() == list(range(1, STEPS + 1))
    for quantity in ("lag_profile", "lag_profile_interval", "decay_rate", "decay_rate_interval", "truncation_error"):
        np.testing.assert_allclose(found[quantity], expected[quantity], rtol=1e-9, atol=1e-12, err_msg=quantity)


class Autoencoder(nn.Module):
    """An encoder that is read at its end, in several ways, by a decoder of as many steps."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.encoder, self.decoder = nn.LSTM(SIZE, SIZE, num_layers=2), nn.LSTM(SIZE, SIZE, num_layers=2)
        self.between, self.readout = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, inputs: Tensor) -> Tensor:
        states, (h, c) = self.encoder(inputs)
        if self.way == "as it is":
            return self.readout(self.decoder(inputs.roll(1, 0), (h, c))[0])
        if self.way == "changed":
            return self.readout(self.decoder(inputs, (self.between(h).tanh(), c))[0])
        if self.way == "repeated":
            return self.readout(self.decoder(states[-1].expand(STEPS, -1, -1))[0])
        # All steps at once.
        return self.readout(states[-1] * torch.linspace(1, 2, STEPS, dtype=h.dtype)[:, None, None])


@pytest.mark.parametrize("way", ["as it is", "changed", "repeated", "at once"])
def test_an_encoder_of_as_many_steps_is_read_at_its_end(way: str) -> None:
    """The profile at lag k is that of state T - k, over all losses; a window keeps the last steps of every loss."""
    torch.manual_seed(0)
    exam = tt.examine(Autoencoder(way).double(), data(), data(), loss)
    assert any(NOTE in note and "'encoder.l1'" in note and "'decoder" not in note for note in exam.notes)
    for layer in ("encoder.l0", "encoder.l1"):
        found = exam[layer]
        squares = np.exp(2 * found.gradient_map.transpose("state", "state_step", "loss_step").values).mean(-1)
        profile = found.lag_profile.transpose("state", "lag").values
        assert found.lag.values.tolist() == list(range(STEPS + 1))
        np.testing.assert_allclose(profile, np.log(squares[:, ::-1]) / 2, rtol=1e-9)
    assert exam["encoder.l1"].truncation_error.sel(window=STEPS - 1).item() < 0.5


class ByHand(nn.Module):
    """An encoder and a decoder, both loops written out."""

    def __init__(self, reading: bool) -> None:
        super().__init__()
        self.one, self.two, self.reading = nn.Linear(2 * SIZE, SIZE), nn.Linear(2 * SIZE, SIZE), reading

    def forward(self, inputs: Tensor) -> Tensor:
        h, states, outputs = inputs.new_zeros(BATCH, SIZE), [], []
        for x in inputs:
            h = torch.tanh(self.one(torch.cat((x, h), -1)))
            states.append(h)
        for x in inputs:
            h = torch.tanh(self.two(torch.cat((x, h), -1)))
            outputs.append(h + torch.stack(states).mean(0) if self.reading else h)
        return torch.stack(outputs)


@pytest.mark.parametrize("reading", [False, True])
def test_a_loop_is_counted_from_its_end_where_nothing_else_of_it_is_read(reading: bool) -> None:
    """An encoder by hand; with attention to all of its states, its lags are those of the steps' numbers."""
    torch.manual_seed(0)
    exam = tt.examine(ByHand(reading).double(), data(), data(), loss)
    assert any(NOTE in note and "'loop#2'" not in note for note in exam.notes) != reading
    assert exam["loop"].lag.values[0] == (1 - STEPS if reading else 0)
    assert exam["loop#2"].lag.values[0] == 0


def test_of_some_steps_only_every_layer_is_read_at_these() -> None:
    torch.manual_seed(0)
    layer = nn.GRU(SIZE, SIZE, num_layers=2).double()
    inputs = torch.cat([data(), data()], 1)[:, :5]
    exam = tt.examine(layer, inputs, loss=lambda output, _: output[0][2::3].square().sum((1, 2)))
    for name in exam.recurrences:
        assert exam[name].lag.values.tolist() == list(range(10))
        # Loss 1 reads step 3: at lag 1 stands what it sends to state 2, and so on.
        at = [float(exam[name].gradient_map.sel(loss_step=t, state_step=3 * t - 1, state="h")) for t in (1, 2, 3)]
        expected = np.log(np.mean(np.exp(2 * np.array(at)))) / 2
        assert exam[name].lag_profile.sel(lag=1, state="h").item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("read", [slice(None, 5), slice(6, None)])
def test_a_turned_sequence_of_which_some_losses_are_masked(read: slice) -> None:
    torch.manual_seed(0)
    mask = torch.zeros(STEPS, dtype=torch.float64)
    mask[read] = 1
    model = TurnedAround(Bidirectional()).double()
    exam = tt.examine(model, data(), data(), lambda output, targets: loss(output, targets) * mask)
    assert any(NOTE in note for note in exam.notes) and exam["layer.l0"].lag.values[0] == 0


class Attending(nn.Module):
    """Losses that read later steps than their own, and that one too."""

    def __init__(self, above: nn.Module) -> None:
        super().__init__()
        self.layer, self.above, self.readout = nn.GRU(SIZE, SIZE), above, nn.LazyLinear(SIZE)

    def forward(self, inputs: Tensor) -> Tensor:
        states = self.layer(inputs)[0]
        if isinstance(self.above, nn.MultiheadAttention):
            return self.readout(self.above(states, states, states)[0])
        return self.readout(self.above(states)[0])


@pytest.mark.parametrize("kind", ["attention", "both directions", "above", "some losses only"])
def test_losses_that_read_their_own_step_count_from_it(kind: str) -> None:
    torch.manual_seed(0)
    above = {
        "attention": nn.MultiheadAttention(SIZE, 1),
        "both directions": nn.GRU(SIZE, SIZE, bidirectional=True),
    }.get(kind, nn.GRU(SIZE, SIZE))
    model, mask = Attending(above).double(), torch.ones(STEPS, dtype=torch.float64)
    model(data())
    if kind == "some losses only":
        mask[::3] = 0
    exam = tt.examine(model, data(), data(), lambda output, targets: loss(output, targets) * mask)
    assert not any(NOTE in note for note in exam.notes)
    ahead = kind in ("attention", "both directions")
    assert exam["layer.l0"].lag.values[0] == (1 - STEPS if ahead else 0)
