"""A loss that is one number: taken apart by the steps whose states it reads, as if it were one loss for each."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import rnn

import throughtime as tt

STEPS, BATCH, CLASSES = 12, 4, 3


class Tagger(nn.Module):
    def __init__(self, kind: type[nn.Module], **keywords: object) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.r = kind(2, 5, **keywords)
        self.o = nn.Linear(5 * (2 if keywords.get("bidirectional") else 1), CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.o(self.r(inputs)[0])


class InChunks(Tagger):
    """In two calls, the second from the states of the first."""

    def forward(self, inputs: Tensor) -> Tensor:
        first, state = self.r(inputs[:5])
        return self.o(torch.cat([first, self.r(inputs[5:], state)[0]]))


class Stepping(Tagger):
    """A cell, step by step."""

    def forward(self, inputs: Tensor) -> Tensor:
        h, states = None, []
        for x in inputs:
            h = self.r(x, h)
            states.append(h[0] if isinstance(h, tuple) else h)
        return self.o(torch.stack(states))


class Ragged(Tagger):
    """Packed samples of 12, 3, 7 and 1 steps."""

    lengths = torch.tensor([12, 3, 7, 1])

    def forward(self, inputs: Tensor) -> Tensor:
        packed = rnn.pack_padded_sequence(inputs, self.lengths, enforce_sorted=False)
        return self.o(rnn.pad_packed_sequence(self.r(packed)[0])[0])


class Own(nn.Module):
    """A cell of one's own."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.read, self.passed_on, self.hidden = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), hidden

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        h = x.new_zeros(len(x), self.hidden) if h is None else h
        return torch.tanh(self.read(x) + self.passed_on(h))


class OwnLSTM(Own):
    """With two states, one of which is computed from the other."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, 4 * hidden)
        self.passed_on, self.hidden = nn.Linear(hidden, 4 * hidden), hidden

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        h, c = (x.new_zeros(len(x), self.hidden),) * 2 if state is None else state
        i, f, g, o = (self.read(x) + self.passed_on(h)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class WrittenOut(Tagger):
    """Two layers in one loop, each a step of one's own."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__(kind)
        self.second = kind(5, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        h = g = inputs.new_zeros(inputs.shape[1], 5)
        logits = []
        for x in inputs:
            h = torch.tanh(self.r.read(x) + self.r.passed_on(h))
            g = torch.tanh(self.second.read(h) + self.second.passed_on(g))
            logits.append(self.o(g))
        return torch.stack(logits)


class Between(Tagger):
    """A cell of one's own between two layers, the upper of which is read."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__(kind)
        self.below, self.above = nn.GRU(2, 2), nn.GRU(5, 5)

    def forward(self, inputs: Tensor) -> Tensor:
        h, states = None, []
        for x in self.below(inputs)[0]:
            h = self.r(x, h)
            states.append(h)
        return self.o(self.above(torch.stack(states))[0])


class Below(Between):
    """The same without the upper one."""

    def forward(self, inputs: Tensor) -> Tensor:
        h, logits = None, []
        for x in self.below(inputs)[0]:
            h = self.r(x, h)
            logits.append(self.o(h))
        return torch.stack(logits)


MODELS = {
    "RNN": lambda: Tagger(nn.RNN),
    "LSTM both ways": lambda: Tagger(nn.LSTM, num_layers=2, bidirectional=True),
    "Gated": lambda: Tagger(tt.Gated),
    "in chunks": lambda: InChunks(nn.LSTM),
    "step by step": lambda: Stepping(nn.LSTMCell),
    "ragged": lambda: Ragged(nn.GRU, bidirectional=True),
    "own cell": lambda: Stepping(Own),
    "own LSTM": lambda: Stepping(OwnLSTM),
    "written out": lambda: WrittenOut(Own),
    "between layers": lambda: Between(Own),
    "above a layer": lambda: Below(Own),
}


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    targets = torch.randint(CLASSES, (STEPS, BATCH), generator=generator)
    targets[torch.arange(STEPS).unsqueeze(1) >= Ragged.lengths] = -100
    return torch.randn(STEPS, BATCH, 2, generator=generator, dtype=torch.float64), targets


def mean(output: Tensor, targets: Tensor) -> Tensor:
    """As one trains: the mean over all tokens that are no padding."""
    return nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten())


def by_step(output: Tensor, targets: Tensor) -> Tensor:
    losses = nn.functional.cross_entropy(output.flatten(0, 1), targets.flatten(), reduction="none")
    return losses.view_as(targets).sum(1) / int((targets >= 0).sum())


@pytest.mark.parametrize("name", MODELS)
def test_a_mean_over_all_steps_is_the_sum_of_losses_of_the_steps(name: str) -> None:
    model, (inputs, targets) = MODELS[name]().double(), data()
    one, many = (tt.examine(model, inputs, targets, loss=loss) for loss in (mean, by_step))
    assert one.recurrences == many.recurrences and one.reach() == many.reach()
    assert [finding.verdict for finding in one.findings] == [finding.verdict for finding in many.findings]
    assert any(note.startswith("The loss is a scalar that reads many steps") for note in one.notes)
    for recurrence in one.recurrences:
        for measure in ("gradient_map", "lag_profile", "decay_rate", "truncation_error", "direct_derivative"):
            found, expected = one[recurrence][measure], many[recurrence][measure]
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        for weight, error in one.relative_errors(recurrence).items():
            norms = (exam.weight_terms(recurrence, weight).norm for exam in (one, many))
            np.testing.assert_allclose(*norms, rtol=1e-9, atol=1e-12)
            assert error < 1e-12


def test_what_it_reads_of_final_states_counts_where_these_are() -> None:
    """Of samples that end apart, at the end of each; l_t is what enters at the states of step t, here at c as well."""

    class Classifier(Ragged):
        def forward(self, inputs: Tensor) -> Tensor:
            packed = rnn.pack_padded_sequence(inputs, self.lengths, enforce_sorted=False)
            output, (_, c) = self.r(packed)
            return self.o(rnn.pad_packed_sequence(output)[0]).square().sum() + c.sin().sum()

    model, (inputs, _) = Classifier(nn.LSTM).double(), data()
    exam = tt.examine(model, inputs, loss=lambda output, _: output)
    assert max(exam.relative_errors("r.l0").values()) < 1e-12
    # By hand: sample by sample, and step by step.
    squares, layer = torch.zeros(STEPS, STEPS + 1, dtype=torch.float64), model.r
    for sample, length in enumerate(model.lengths.tolist()):
        h, c = (torch.zeros(1, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
        states, losses = [c], []
        for t in range(length):
            gates = inputs[t, sample] @ layer.weight_ih_l0.T + layer.bias_ih_l0 + h @ layer.weight_hh_l0.T
            i, f, g, o = (gates + layer.bias_hh_l0).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(c)
            losses.append(model.o(h).square().sum() + (c.sin().sum() if t == length - 1 else 0))
        for t, loss in enumerate(losses):
            found = torch.autograd.grad(loss, states, retain_graph=True, materialize_grads=True)
            squares[t, : length + 1] += torch.stack([one.square().sum() for one in found])
    expected = (squares / BATCH).log() / 2
    np.testing.assert_allclose(exam["r.l0"].gradient_map.sel(state="c"), expected, rtol=0, atol=1e-9)


def test_it_stays_whole_where_one_asks_for_it() -> None:
    model, (inputs, targets) = MODELS["RNN"]().double(), data()
    whole = tt.examine(model, inputs, targets, loss=mean, loss_steps=[1])
    assert whole["r.l0"].sizes["loss_step"] == 1
    assert any("Where it reads many steps" in note for note in whole.notes)
    # The parts add up to it: at the last state, into which nothing comes from later ones, there is but one.
    apart = tt.examine(model, inputs, targets, loss=mean)
    last = (exam["r.l0"].gradient_map.isel(loss_step=-1, state_step=STEPS).item() for exam in (whole, apart))
    assert math.isclose(*last, rel_tol=1e-12)


def test_what_reads_one_step_is_one_loss() -> None:
    model, (inputs, _) = MODELS["LSTM both ways"]().double(), data()
    exam = tt.examine(model, inputs, loss=lambda output, _: output[-1].square().sum())
    assert exam["r.l1"].loss_step.values.tolist() == [STEPS]


def test_what_is_taken_apart_may_be_cut() -> None:
    model, (inputs, targets) = MODELS["RNN"]().double(), data()
    one, many = (tt.examine(model, inputs, targets, loss=loss, max_lag=3, window=4) for loss in (mean, by_step))
    np.testing.assert_allclose(one["r.l0"].truncation_error, many["r.l0"].truncation_error, rtol=1e-9)
    assert one["r.l0"].attrs["window_error"] == pytest.approx(many["r.l0"].attrs["window_error"], rel=1e-9)


def test_what_a_step_puts_out_beside_its_states_leaves_it_whole() -> None:
    """Then what is sent back through the states is not all of it."""

    class Glimpse(Own):
        def forward(self, x: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
            h = super().forward(x, h)
            return self.passed_on(h).sigmoid(), h

    class Decoder(Tagger):
        def forward(self, inputs: Tensor) -> Tensor:
            h, logits = None, []
            for x in inputs:
                y, h = self.r(x, h)
                logits.append(self.o(y))
            return torch.stack(logits)

    model, (inputs, targets) = Decoder(Glimpse).double(), data()
    exam = tt.examine(model, inputs, targets, loss=mean)
    assert exam["r"].sizes["loss_step"] == 1
    assert any("Where it reads many steps" in note for note in exam.notes)


def test_a_loop_that_is_read_at_its_end_only_has_one_loss() -> None:
    model, (inputs, _) = Stepping(OwnLSTM).double(), data()
    exam = tt.examine(model, inputs, loss=lambda output, _: output[-1].square().sum())
    assert exam["r"].loss_step.values.tolist() == [STEPS]


def test_a_loop_and_a_layer_that_are_both_read_leave_it_whole() -> None:
    class Both(Below):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) + self.below(inputs)[0].sum(-1, keepdim=True)

    model, (inputs, targets) = Both(Own).double(), data()
    exam = tt.examine(model, inputs, targets, loss=mean, recurrence=["r", "below"])
    assert exam["r"].sizes["loss_step"] == 1


def test_beside_the_inputs_it_stays_whole() -> None:
    model, (inputs, targets) = MODELS["own cell"]().double(), data()
    exam = tt.examine(model, inputs.requires_grad_(), targets, loss=mean, recurrence=["r", "inputs"], time_axis=0)
    assert exam["r"].sizes["loss_step"] == 1


class Twice(Below):
    """A weight of the loop is used elsewhere, too."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) + self.o(self.r.read(self.below(inputs)[0]))


class Leaking(Below):
    """A loop whose steps have no weights beside one whose steps have."""

    def leak(self, x: Tensor, h: Tensor) -> Tensor:
        return 0.9 * h + x

    def forward(self, inputs: Tensor) -> Tensor:
        h, states = inputs.new_zeros(inputs.shape[1], 5), []
        for x in self.r.read(inputs):
            h = self.leak(x, h)
            states.append(h)
        return super().forward(inputs) + self.o(torch.stack(states))


class Alone(Leaking):
    """The same alone, of complex numbers."""

    def leak(self, x: Tensor, h: Tensor) -> Tensor:
        return (0.6 + 0.5j) * h + x

    def forward(self, inputs: Tensor) -> Tensor:
        h, states = inputs.new_zeros(inputs.shape[1], 5).cfloat().cdouble(), []
        for x in self.r.read(inputs):
            h = self.leak(x, h)
            states.append(h)
        return self.o(torch.stack(states).real) + self.o(torch.stack(states).imag)


LOOPS = {"a weight used elsewhere": (Twice, "r"), "no weights": (Leaking, ["r", "leak"]), "complex": (Alone, "leak")}


@pytest.mark.parametrize("name", LOOPS)
def test_what_loops_read_of_other_kinds(name: str) -> None:
    kind, names = LOOPS[name]
    model, (inputs, targets) = kind(Own).double(), data()
    one, many = (tt.examine(model, inputs, targets, loss=loss, recurrence=names) for loss in (mean, by_step))
    assert sorted(one.recurrences) == sorted(many.recurrences) == sorted([names] if isinstance(names, str) else names)
    for recurrence in one.recurrences:
        assert one[recurrence].sizes["loss_step"] == STEPS
        found, expected = one[recurrence].gradient_map, many[recurrence].gradient_map
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        assert max(one.relative_errors(recurrence).values(), default=0) < 1e-12
    assert [finding.verdict for finding in one.findings] == [finding.verdict for finding in many.findings]


def test_weight_decay_in_the_loss_is_beside_all_steps() -> None:
    model, (inputs, targets) = MODELS["own cell"]().double(), data()

    def decayed(output: Tensor, targets: Tensor) -> Tensor:
        return mean(output, targets) + 0.1 * sum(weight.square().sum() for weight in model.parameters())

    one, many = (tt.examine(model, inputs, targets, loss=loss) for loss in (decayed, by_step))
    np.testing.assert_allclose(one["r"].gradient_map, many["r"].gradient_map, rtol=1e-9, atol=1e-9)
    assert max(one.relative_errors("r").values()) < 1e-12


def test_what_is_read_of_the_state_that_a_loop_starts_from_is_of_no_step() -> None:
    class Late(Tagger):
        def forward(self, inputs: Tensor) -> Tensor:
            h, logits = torch.tanh(self.r.read(inputs.mean(0))), []
            for x in inputs:
                logits.append(self.o(h))
                h = self.r(x, h)
            return torch.stack(logits)

    model, (inputs, _) = Late(Own).double(), data()
    exam = tt.examine(model, inputs, loss=lambda output, _: output.square().sum())
    # The last state is read by none.
    assert exam["r"].sizes["loss_step"] == STEPS
    direct = exam["r"].direct_derivative.values.ravel()
    assert direct[-1] == -math.inf and np.isfinite(direct[:-1]).all()
    assert max(exam.relative_errors("r").values()) < 1e-12


def test_a_decoder_that_starts_from_the_last_state_of_an_encoder() -> None:
    """Both are read: one directly, too."""

    class Attending(Tagger):
        def __init__(self) -> None:
            super().__init__(Own)
            self.decoder = Own(2, 5)

        def forward(self, inputs: Tensor) -> Tensor:
            h, states, logits = None, [], []
            for x in inputs:
                h = self.r(x, h)
                states.append(h)
            memory, g = torch.stack(states), h
            for x in inputs.flip(0):
                g = self.decoder(x, g)
                share = (memory * g).sum(-1).softmax(0)
                logits.append(self.o(g + (share.unsqueeze(-1) * memory).sum(0)))
            return torch.stack(logits)

    model, (inputs, targets) = Attending().double(), data()
    exam = tt.examine(model, inputs, targets, loss=mean)
    for name in ("r", "decoder"):
        assert exam[name].sizes["loss_step"] == STEPS
        assert max(exam.relative_errors(name).values()) < 1e-12
