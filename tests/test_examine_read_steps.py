"""Losses that read other steps than the last: lags are counted from what they read."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import rnn
from torch.utils._pytree import tree_map

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
    said = f"The loss reads samples up to steps 8 to {READ}, each to one of its own, and lags are counted from there"
    exam = tt.examine(Model(), inputs(), lengths, loss=gathered)
    assert said in exam.findings[0].evidence
    packed = rnn.pack_padded_sequence(inputs(), lengths, enforce_sorted=False)
    module = nn.GRU(2, 4)
    exam = tt.examine(module, (packed,), loss=lambda output, _: output[1].square().sum())
    assert said in exam.findings[0].evidence
    exam = tt.examine(Model(), inputs(), torch.full((BATCH,), READ), loss=gathered)
    assert "lags are counted from there" not in exam.findings[0].evidence


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
        assert f"up to steps {ends[0]} to {ends[1]}, each" in exam.findings[0].evidence


def test_ends_are_told_as_steps_of_the_sequence_in_reverse_too() -> None:
    lengths = torch.linspace(8, READ, BATCH).long()
    exam = tt.examine(Model(bidirectional=True), inputs(), lengths, loss=gathered)
    told = {finding.recurrence: finding.evidence for finding in exam.findings}
    assert f"up to steps 8 to {READ}, each" in told["r.l0"]
    assert f"up to steps {READ} to 8, each" in told["r.l0.reverse"]


@pytest.mark.parametrize("steps", [1, STEPS])
def test_no_lag_at_all(steps: int) -> None:
    exam = tt.examine(Model(), inputs()[:steps], loss=lambda output, _: output.square().sum((1, 2)), max_lag=0)
    assert exam["r.l0"].lag.values.tolist() == [0]


class Stacked(Model):
    """Two layers of their own, of which the loss reads the upper one only."""

    def __init__(self) -> None:
        super().__init__()
        self.upper = nn.LSTM(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.o(self.upper(torch.tanh(self.r(inputs)[0]))[0])


class Packed(Model):
    """Reads packed sequences and leaves their last states."""

    def forward(self, inputs: rnn.PackedSequence) -> Tensor:
        return self.o(self.r(inputs)[1][0])


LENGTHS = torch.tensor([8, READ, 11, STEPS, 8, 17])


def alone(model: nn.Module, sample: int, **keywords: object) -> tt.Examination:
    """One sample, which ends where the loss reads it."""
    cut = inputs()[: LENGTHS[sample], sample : sample + 1].double()
    return tt.examine(model, cut, loss=lambda output, _: output[-1].square().sum(), **keywords)


def read_apart(model: nn.Module, **keywords: object) -> tt.Examination:
    if isinstance(model, Packed):
        packed = rnn.pack_padded_sequence(inputs().double(), LENGTHS, enforce_sorted=False)
        return tt.examine(model, (packed,), loss=lambda output, _: output.square().sum(), **keywords)
    return tt.examine(model, inputs().double(), LENGTHS, loss=gathered, **keywords)


@pytest.mark.parametrize("max_lag", [None, 9])
@pytest.mark.parametrize("kind", [Model, Packed, InChunks, Stacked])
def test_lags_are_counted_from_the_end_of_every_sample(kind: type[Model], max_lag: int | None) -> None:
    """The profile, the sums of weight terms and the windows are those of the samples alone, put together."""
    model = kind().double()
    found = read_apart(model, max_lag=max_lag)
    plain = model if kind is Stacked else Model().double()
    plain.load_state_dict(model.state_dict())
    each = [alone(plain, sample, max_lag=max_lag) for sample in range(BATCH)]
    for name in found.recurrences:
        measures, apart = found[name], [one[name] for one in each]
        furthest = STEPS if max_lag is None else max_lag
        assert measures.lag.values.tolist() == list(range(furthest + 1))
        profiles = np.full((BATCH, furthest + 1), np.nan)
        for profile, one in zip(profiles, apart, strict=True):
            profile[: one.sizes["lag"]] = one.lag_profile.values[-1]
        np.testing.assert_allclose(measures.sample_profile.transpose("sample", "lag"), profiles, rtol=1e-9)
        mean = np.log(np.nanmean(np.exp(2 * profiles), axis=0)) / 2
        np.testing.assert_allclose(measures.lag_profile.values[-1], mean, rtol=1e-9)
        direct = np.log(np.mean(np.exp(2 * np.array([one.direct_derivative.values[-1, 0] for one in apart])))) / 2
        np.testing.assert_allclose(measures.direct_derivative.values[-1, 0], direct, rtol=1e-9)


@pytest.mark.parametrize("kind", [Model, Packed])
def test_causes_by_lag_end_with_max_lag_where_samples_end_apart(kind: type[Model]) -> None:
    """The samples that end first are followed further back than that from the end of the last one."""
    cut, whole = (read_apart(kind().double(), max_lag=at_most).causes("r.l0").nats_by_lag for at_most in (9, None))
    assert cut.lag.values.tolist() == list(range(10))
    np.testing.assert_allclose(cut, whole.sel(lag=cut.lag), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [Model, Packed, Stacked])
def test_a_window_is_counted_from_the_end_of_every_sample(kind: type[Model]) -> None:
    """Against backpropagation that is cut so many steps before the end of each."""
    model = kind().double()
    exam = read_apart(model)
    name = exam.recurrences[-1]
    module = model.upper if isinstance(model, Stacked) else model.r

    def gradient(window: int) -> Tensor:
        total = torch.zeros(sum(weight.numel() for weight in module.parameters()), dtype=torch.float64)
        for sample, length in enumerate(LENGTHS.tolist()):
            read = inputs()[:length, sample : sample + 1].double()
            if isinstance(model, Stacked):
                read = torch.tanh(model.r(read)[0]).detach()
            state, before = None, max(0, length - window)
            if before:
                state = tree_map(torch.detach, module(read[:before])[1])
            loss = model.o(module(read[before:], state)[0][-1]).square().sum()
            total += torch.cat([one.flatten() for one in torch.autograd.grad(loss, list(module.parameters()))])
        return total

    whole = gradient(STEPS)
    for window in (1, 4, 16, 32):
        expected = float((whole - gradient(window)).norm() / whole.norm())
        assert float(exam[name].truncation_error.sel(window=window)) == pytest.approx(expected, rel=1e-7)


class PackedSteps(Model):
    """Reads packed sequences and answers at every step."""

    def forward(self, inputs: rnn.PackedSequence) -> Tensor:
        return self.o(rnn.pad_packed_sequence(self.r(inputs)[0])[0])


def masked(output: Tensor, lengths: Tensor) -> Tensor:
    """A loss at every step of the samples that have not ended."""
    there = torch.arange(1, len(output) + 1).unsqueeze(1) <= lengths
    return (output.square().sum(2) * there).sum(1)


@pytest.mark.parametrize("loss_steps", ["all", 12])
@pytest.mark.parametrize("kind", [Model, PackedSteps, Stacked])
def test_what_no_loss_reads_of_a_sample_counts_in_no_profile(kind: type[Model], loss_steps: str | int) -> None:
    """With a loss at every step, samples that have ended are no zeros among the others."""
    model = kind().double()
    packed = rnn.pack_padded_sequence(inputs().double(), LENGTHS, enforce_sorted=False)
    given = (packed,) if kind is PackedSteps else inputs().double()
    found = tt.examine(model, given, LENGTHS, loss=masked, loss_steps=loss_steps)
    plain = Stacked().double() if kind is Stacked else Model().double()
    plain.load_state_dict(model.state_dict())
    for name in found.recurrences:
        measures = found[name]
        squares, counts = np.zeros(measures.sizes["lag"]), np.zeros(measures.sizes["lag"])
        for sample, length in enumerate(LENGTHS.tolist()):
            followed = [step for step in measures.loss_step.values.tolist() if step <= length]
            if not followed:
                continue
            cut = inputs()[:length, sample : sample + 1].double()
            alone = tt.examine(plain, cut, loss=lambda output, _: output.square().sum((1, 2)), loss_steps=followed)[
                name
            ]
            for lag in alone.lag.values.tolist():
                count = sum(step >= lag for step in followed)
                counts[lag] += count
                squares[lag] += count * np.exp(2 * float(alone.lag_profile[-1].sel(lag=lag)))
            profile = measures.sample_profile.isel(sample=sample)[: alone.sizes["lag"]]
            np.testing.assert_allclose(profile, alone.lag_profile[-1], rtol=1e-9)
        np.testing.assert_allclose(measures.lag_profile[-1], np.log(squares / counts) / 2, rtol=1e-9)


def delayed(output: Tensor, _: object) -> Tensor:
    """Every other loss reads what was eight steps ago, and of one sample none does."""
    back = [step - 8 if step % 2 and step >= 8 else step for step in range(len(output))]
    return torch.stack([output[at, 1 if step % 2 else 0 :].square().sum() for step, at in enumerate(back)])


@pytest.mark.parametrize("kind", ["Model", "Stacked", "ByHand"])
def test_what_a_loss_reads_beyond_max_lag_counts_as_read(kind: str) -> None:
    model = globals()[kind]()
    if kind == "ByHand":
        model.r = nn.RNN(2, 4)
    whole, cut = (tt.examine(model.double(), inputs().double(), loss=delayed, max_lag=lag) for lag in (None, 3))
    for name in whole.recurrences:
        expected = whole[name].lag_profile.sel(lag=cut[name].lag)
        np.testing.assert_allclose(cut[name].lag_profile, expected, rtol=1e-9)


def test_a_sample_that_is_masked_throughout_changes_neither_rate_nor_intervals() -> None:
    model, mask = Model().double(), torch.ones(STEPS, BATCH)
    mask[:, -1] = 0

    def loss(output: Tensor, weights: Tensor) -> Tensor:
        return (output.square().sum(2) * weights).sum(1)

    masked, without = (
        tt.examine(model, inputs()[:, :samples].double(), mask[:, :samples], loss=loss)["r.l0"]
        for samples in (BATCH, BATCH - 1)
    )
    for quantity in ("lag_profile", "decay_rate"):
        np.testing.assert_allclose(masked[quantity], without[quantity], rtol=1e-9)
    # The draws are others.
    for quantity in ("lag_profile_interval", "decay_rate_interval"):
        width = np.diff(without[quantity], axis=-1)
        apart = np.abs(masked[quantity].values - without[quantity].values) / width
        # The long ends of five samples depend on the draws.
        assert np.quantile(apart, 0.9) <= 0.2
        assert (width > 0).all()


class StepByStep(nn.Module):
    """An encoder, and a decoder that reads its last state in single calls of a cell, of which the last is read."""

    def __init__(self, decoder: type[nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.GRU(2, 4)
        self.decoder = decoder(2, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        state = self.encoder(inputs)[1]
        if isinstance(self.decoder, nn.GRU):
            return self.decoder(inputs[:3], state)[0][-1]
        hidden = state[0]
        for step in inputs[:3]:
            hidden = self.decoder(step, hidden)
        return hidden


def test_what_is_read_through_later_calls_only() -> None:
    names = {name.removesuffix("_l0"): value for name, value in StepByStep(nn.GRU).decoder.state_dict().items()}
    whole, single = StepByStep(nn.GRU), StepByStep(nn.GRUCell)
    single.decoder.load_state_dict(names)
    single.encoder.load_state_dict(whole.encoder.state_dict())

    def loss(output: Tensor, _: object) -> Tensor:
        return output.square().sum()

    one, other = (tt.examine(model.double(), inputs().double(), loss=loss) for model in (whole, single))
    assert one["encoder.l0"].loss_step.values.tolist() == [STEPS]
    assert list(other.reach().values()) == list(one.reach().values())
    for quantity in ("lag_profile", "truncation_error", "decay_rate"):
        np.testing.assert_allclose(other["encoder.l0"][quantity], one["encoder.l0"][quantity], rtol=1e-9)
        np.testing.assert_allclose(other["decoder"][quantity], one["decoder.l0"][quantity], rtol=1e-9)


class Feedback(nn.Module):
    """The upper cell's output goes into the lower one's next step: as many runs as steps, each above the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.lower, self.upper = nn.GRUCell(6, 4), nn.GRUCell(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        lower = upper = inputs.new_zeros(inputs.shape[1], 4)
        for step in inputs:
            lower = self.lower(torch.cat([step, upper], 1), lower)
            upper = self.upper(lower, upper)
        return upper


def test_many_runs_above_one_another() -> None:
    exam = tt.examine(Feedback(), torch.randn(150, 2, 2), loss=lambda output, _: output.square().sum())
    assert exam["lower"].loss_step.values.tolist() == exam["upper"].loss_step.values.tolist() == [150]


def test_a_layer_that_is_not_read() -> None:
    module = nn.GRU(2, 4, 2)
    exam = tt.examine(module, inputs(), loss=lambda output, _: output[1][0].square().sum())
    assert (exam["l1"].lag_profile == -np.inf).all()
    assert "read_to" not in exam["l1"].attrs and exam.reach()["l1"] == 0
    assert exam.reach()["l0"] > 0


class ByHand(Model):
    """A step of its own, in a loop."""

    def forward(self, inputs: Tensor) -> Tensor:
        hidden, outputs = inputs.new_zeros(inputs.shape[1], 4), []
        for step in inputs:
            hidden = self.step(step, hidden)
            outputs.append(hidden)
        return self.o(torch.stack(outputs))

    def step(self, step: Tensor, hidden: Tensor) -> Tensor:
        pre = step @ self.r.weight_ih_l0.T + self.r.bias_ih_l0 + hidden @ self.r.weight_hh_l0.T + self.r.bias_hh_l0
        return torch.tanh(pre)


def test_a_loop_counts_from_the_end_of_every_sample_too() -> None:
    torch.manual_seed(0)
    looped, opened = ByHand(), Model()
    looped.r = opened.r = nn.RNN(2, 4)
    opened.o = looped.o
    found, expected = (
        tt.examine(model.double(), inputs().double(), LENGTHS, loss=gathered) for model in (looped, opened)
    )
    (one,), (other,) = found.recurrences, expected.recurrences
    for quantity in ("lag_profile", "sample_profile", "decay_rate", "direct_derivative"):
        np.testing.assert_allclose(found[one][quantity], expected[other][quantity], rtol=1e-9)
    assert found.findings[0].verdict == expected.findings[0].verdict == "vanishing"
    assert "of a loop are counted from the last step of all samples" in found.findings[0].evidence


def test_a_loop_that_is_not_followed_to_its_end() -> None:
    """The shorter samples are followed further than the longest one; that is no part of its largest lag."""
    model = ByHand()
    model.r = nn.RNN(2, 4)
    whole, cut = (
        tt.examine(model.double(), inputs().double(), LENGTHS, loss=gathered, max_lag=at_most) for at_most in (None, 9)
    )
    (name,) = whole.recurrences
    np.testing.assert_allclose(cut[name].lag_profile, whole[name].lag_profile.sel(lag=cut[name].lag), rtol=1e-9)
    windows = cut[name].window
    np.testing.assert_allclose(cut[name].truncation_error, whole[name].truncation_error.sel(window=windows), rtol=1e-7)
    for weight in ("r.weight_ih_l0", "r.weight_hh_l0"):
        one, other = (exam.weight_terms(name, weight).norm_by_lag for exam in (cut, whole))
        np.testing.assert_allclose(one, other.sel(lag=one.lag), rtol=1e-9)


def test_beside_a_loop_too() -> None:
    packed = rnn.pack_padded_sequence(inputs().double(), LENGTHS, enforce_sorted=False)
    keywords = {"loss": lambda output, _: output.square().sum()}
    alone = tt.examine(Packed().double(), (packed,), **keywords)
    beside = tt.examine(Packed().double(), (packed,), recurrence=["r", "inputs"], time_axis=0, **keywords)
    np.testing.assert_allclose(beside["r.l0"].lag_profile, alone["r.l0"].lag_profile, rtol=1e-9)
    assert beside.reach()["r.l0"] == alone.reach()["r.l0"] < LENGTHS.max()


@pytest.mark.parametrize("every_step", [False, True])
def test_a_reverse_direction_has_no_lags_before_a_sample_begins(every_step: bool) -> None:
    """As a forward one over every sample flipped."""
    torch.manual_seed(0)
    both = nn.GRU(2, 4, bidirectional=True, dtype=torch.float64)
    forward = nn.GRU(2, 4, dtype=torch.float64)
    for name, weight in forward.named_parameters():
        weight.data = getattr(both, f"{name}_reverse").data
    flipped = inputs().double()
    for sample, length in enumerate(LENGTHS.tolist()):
        flipped[:length, sample] = flipped[:length, sample].flip(0)

    def found(module: nn.Module, read: Tensor) -> tt.Examination:
        def loss(output: tuple[rnn.PackedSequence, Tensor], _: object) -> Tensor:
            states = rnn.pad_packed_sequence(output[0])[0][..., -4:]
            return states.square().sum((1, 2)) if every_step else output[1][-1].square().sum()

        packed = rnn.pack_padded_sequence(read, LENGTHS, enforce_sorted=False)
        return tt.examine(module, (packed,), loss=loss)

    one, other = found(both, inputs().double())["l0.reverse"], found(forward, flipped)["l0"]
    for quantity in ("lag_profile", "lag_profile_interval", "sample_profile", "decay_rate", "truncation_error"):
        np.testing.assert_allclose(one[quantity], other[quantity], rtol=1e-9)


def test_nor_has_a_lower_layer_lags_behind_the_end_of_a_sample() -> None:
    """Where the layer above reads it in both directions: every sample alone has the same profile."""
    torch.manual_seed(0)
    module = nn.GRU(2, 4, 2, bidirectional=True, dtype=torch.float64)

    def loss(output: tuple[rnn.PackedSequence, Tensor], _: object) -> Tensor:
        return rnn.pad_packed_sequence(output[0])[0].square().sum((1, 2))

    packed = rnn.pack_padded_sequence(inputs().double(), LENGTHS, enforce_sorted=False)
    whole = tt.examine(module, (packed,), loss=loss)
    for sample, length in enumerate(LENGTHS.tolist()):
        alone = tt.examine(
            module, inputs()[:length, [sample]].double(), loss=lambda output, _: output[0].square().sum((1, 2))
        )
        for recurrence in ("l0", "l0.reverse"):
            of_batch, own = whole[recurrence].sample_profile.sel(sample=sample), alone[recurrence].sample_profile
            own = own.squeeze("sample").reindex(lag=of_batch.lag)
            np.testing.assert_allclose(of_batch, own, rtol=1e-9, err_msg=f"{sample} {recurrence}")


def test_a_sample_that_is_not_read_has_no_lags() -> None:
    def all_but(last: bool) -> tt.Examination:
        def loss(output: Tensor, lengths: Tensor) -> Tensor:
            read = output[lengths - 1, torch.arange(len(lengths))].square().sum(-1)
            return read[: BATCH - last].sum()

        samples = BATCH - 0 if last else BATCH - 1
        return tt.examine(Model().double(), inputs()[:, :samples].double(), LENGTHS[:samples], loss=loss)

    one, other = all_but(True)["r.l0"], all_but(False)["r.l0"]
    for quantity in ("lag_profile", "decay_rate", "direct_derivative", "elasticity", "truncation_error"):
        np.testing.assert_allclose(one[quantity], other[quantity], rtol=1e-9)
    assert np.isnan(one.sample_profile.transpose("sample", "lag").values[-1]).all()


@pytest.mark.parametrize("followed", [slice(-5, None), slice(1, -1), slice(None, None, 3)])
@pytest.mark.parametrize("layers", [1, 2])
def test_losses_of_some_steps_say_the_same_however_they_are_picked(layers: int, followed: slice) -> None:
    """By loss_steps=, by a mask, or as the only ones that there are."""

    def every(output: Tensor, _: object) -> Tensor:
        return output.square().sum((1, 2))

    mask = torch.zeros(STEPS)
    mask[followed] = 1
    model = Model(bidirectional=True, num_layers=layers)
    given = tt.examine(model, inputs(), loss=every, loss_steps=(mask.nonzero().squeeze(1) + 1).tolist())
    masked = tt.examine(model, inputs(), loss=lambda output, _: every(output, _) * mask)
    picked = tt.examine(model, inputs(), loss=lambda output, _: every(output[followed], _))
    for other in (masked, picked):
        assert other.reach() == given.reach()
        assert not {"exploding", "underflow"} & {finding.verdict for finding in other.findings}
        for name in given.recurrences:
            one, another = given[name], other[name]
            assert one.lag.values.tolist() == another.lag.values.tolist()
            np.testing.assert_allclose(one.lag_profile, another.lag_profile, rtol=1e-5)
            np.testing.assert_allclose(one.decay_rate, another.decay_rate, rtol=1e-5)
            np.testing.assert_allclose(one.gradient_share, another.gradient_share, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("read", [0, READ - 1, STEPS - 1])
def test_what_the_layer_above_reads_both_ways_is_read_where_it_is(read: int) -> None:
    model = Model(bidirectional=True, num_layers=2)
    found = tt.examine(model, inputs(), loss=lambda output, _: output[read].square().sum())
    labels = {name: found[name].loss_step.values.tolist() for name in found.recurrences}
    assert all(label == [read + 1] for label in labels.values())
    assert not {"exploding", "readout-bound"} & {finding.verdict for finding in found.findings}
    # Its states before that step, in its own order, have positive lags; all others, which are read from above, none.
    assert found["r.l0.reverse"].lag.values.max() == STEPS - read
    assert found["r.l0"].lag.values.max() == read + 1


def test_what_may_be_read_elsewhere_too_is_not_called_readout_bound() -> None:
    def fading(output: Tensor, _: object) -> Tensor:
        """All but nothing of the last step, and all of the others."""
        weights = torch.ones(STEPS)
        weights[-1] = 1e-12
        return output.square().sum((1, 2)) @ weights

    found = tt.examine(Model(), inputs(), loss=fading, loss_steps=[1])
    assert found["r.l0"].elasticity.isnull().all()
    assert "readout-bound" not in {finding.verdict for finding in found.findings}


class Cells(nn.Module):
    """A cell of torch's, called step by step: every call is a run of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cell = nn.GRUCell(inputs().shape[-1], 3)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        states = [sequence.new_zeros(sequence.shape[1], 3)]
        for x in sequence:
            states.append(self.cell(x, states[-1]))
        return torch.stack(states[1:])


def test_cells_of_which_several_calls_are_read_are_read_at_several_steps() -> None:
    at_its_own = tt.examine(Cells(), inputs(), loss=lambda output, _: output.square().sum((1, 2)))
    so_far = tt.examine(Cells(), inputs(), loss=lambda output, _: output.square().sum((1, 2)).cumsum(0))
    assert at_its_own["cell"].elasticity.notnull().all()
    assert so_far["cell"].elasticity.isnull().all()
