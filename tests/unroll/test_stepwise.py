"""Layers of steps that fit no cell: their papers' equations, torch's interface, and how they are examined."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import naive
import throughtime as tt
from throughtime.unroll import Stepwise

STEPS, BATCH, FEATURES, HIDDEN, SLOW = 6, 3, 3, 4, 2
LAYERS: dict[str, tuple[type[Stepwise], dict[str, Any]]] = {
    "reset before": (tt.ResetBeforeGRU, {}),
    "SCRN": (tt.SCRN, {"slow_size": SLOW, "alpha": 0.9}),
}


def drawn(name: str, features: int = FEATURES, **keywords: Any) -> Stepwise:
    torch.manual_seed(0)
    kind, own = LAYERS[name]
    layer = kind(features, HIDDEN, **own, **keywords).double()
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return layer


def sequence(*shape: int) -> Tensor:
    return torch.randn(shape or (STEPS, BATCH, FEATURES), dtype=torch.float64)


def reset_before(w: dict[str, Tensor], x: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    """Cho et al. 2014, equations 5 to 8 with torch's sign of z, one gate after the other."""
    w_r, w_z, w_n = w["weight_ih"].split(HIDDEN)
    u_r, u_z, u_n = w["weight_hh"].split(HIDDEN)
    b_r, b_z, b_n = w["bias_ih"].split(HIDDEN)
    r, z = sigmoid(x @ w_r.T + h @ u_r.T + b_r), sigmoid(x @ w_z.T + h @ u_z.T + b_z)
    candidate = tanh(x @ w_n.T + torch.einsum("ij,bj->bi", u_n, r * h) + b_n)
    return (candidate + z * (h - candidate),)


def scrn(w: dict[str, Tensor], x: Tensor, h: Tensor, s: Tensor) -> tuple[Tensor, ...]:
    """Mikolov et al. 2014, section 3."""
    s = 0.1 * x @ w["weight_is"].T + 0.9 * s
    return sigmoid(s @ w["weight_sh"].T + x @ w["weight_ih"].T + h @ w["weight_hh"].T + w["bias_ih"]), s


STEP = {"reset before": reset_before, "SCRN": scrn}


def unrolled(name: str, layer: Stepwise, inputs: Tensor, states: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    weights = dict(layer.step_of(0, 0).named_parameters())
    found = [states]
    for x in inputs:
        found.append(STEP[name](weights, x, *found[-1]))
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_the_papers_step(name: str) -> None:
    layer, inputs = drawn(name), sequence()
    states = tuple(sequence(BATCH, size) for size in layer.step_of(0, 0).state_sizes.values())
    expected = unrolled(name, layer, inputs, states)
    output, last = layer(inputs, tuple(state[None] for state in states))
    torch.testing.assert_close(output, torch.stack([torch.cat(step, -1) for step in expected[1:]]))
    found = last if isinstance(last, tuple) else (last,)
    for state, end in zip(found, expected[-1], strict=True):
        torch.testing.assert_close(state[0], end)


def test_with_diagonal_recurrent_weights_before_and_after_the_product_are_the_same() -> None:
    """W (r * h) = r * (W h) where W is diagonal, so that torch's GRU gives the same outputs."""
    ours, inputs = drawn("reset before"), sequence()
    torchs = nn.GRU(FEATURES, HIDDEN, dtype=torch.float64)
    with torch.no_grad():
        step = ours.step_of(0, 0)
        step.weight_hh[2 * HIDDEN :] = torch.diag(sequence(HIDDEN))
        torchs.weight_ih_l0.copy_(step.weight_ih)
        torchs.weight_hh_l0.copy_(step.weight_hh)
        torchs.bias_ih_l0.copy_(step.bias_ih)
        torchs.bias_hh_l0.zero_()
    torch.testing.assert_close(ours(inputs)[0], torchs(inputs)[0])


@pytest.mark.parametrize("name", LAYERS)
def test_stacked_bidirectional_and_ragged(name: str) -> None:
    layer, inputs = drawn(name, num_layers=2, bidirectional=True, batch_first=True), sequence(BATCH, STEPS, FEATURES)
    lengths = torch.tensor([6, 2, 4])
    output, last = layer(inputs, lengths=lengths)
    packed, packed_last = layer(pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False))
    torch.testing.assert_close(pad_packed_sequence(packed, batch_first=True)[0], output)
    torch.testing.assert_close(packed_last, last)
    for sample, length in enumerate(lengths.tolist()):
        alone, alone_last = layer(inputs[sample, :length])
        torch.testing.assert_close(output[sample, :length], alone)
        assert not output[sample, length:].any()
        for one, all_ in zip(_tuple(alone_last), _tuple(last), strict=True):
            torch.testing.assert_close(all_[:, sample], one)


@pytest.mark.parametrize("name", LAYERS)
def test_a_state_dict_goes_round(name: str) -> None:
    layer, inputs = drawn(name, num_layers=2), sequence()
    other = LAYERS[name][0](FEATURES, HIDDEN, 2, **LAYERS[name][1]).double()
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(inputs)[0], layer(inputs)[0])
    assert {"l0.weight_ih", "l1.weight_hh"} <= layer.state_dict().keys()


@pytest.mark.parametrize("name", LAYERS)
def test_maps_terms_and_causes_equal_autograd(name: str) -> None:
    layer, inputs = drawn(name), sequence()
    exam = tt.examine(layer, inputs, loss=lambda output, targets: output[0].square().sum((1, 2)))
    assert exam.recurrences == ["l0"]
    start = tuple(torch.zeros(BATCH, n).double().requires_grad_() for n in layer.step_of(0, 0).state_sizes.values())
    states = unrolled(name, layer, inputs, start)
    losses = [torch.cat(step, -1).square().sum() for step in states[1:]]
    for label, visited in zip(("h", "c"), zip(*states, strict=True), strict=False):
        expected = naive.gradient_map(losses, list(visited))
        np.testing.assert_allclose(exam["l0"].gradient_map.sel(state=label), expected, rtol=0, atol=1e-9)
    for weight in dict(layer.step_of(0, 0).named_parameters()):
        assert exam.weight_terms("l0", weight).attrs["relative_error"] < 1e-9
    causes = exam.causes("l0")
    column = exam["l0"].gradient_map.sel(state=causes.attrs["state"]).values
    with np.errstate(invalid="ignore"):
        change = column[:, :-1] - column[:, 1:]
    active = np.isfinite(change)
    assert active.any()
    np.testing.assert_allclose(causes.nats.sum("cause").values[active], change[active], rtol=0, atol=1e-12)


def test_along_the_slow_state_the_gradient_decays_by_ln_alpha() -> None:
    """Where h is not read, l_t = f(s_t) and ds_t/ds_i = alpha^(t - i)."""
    layer, inputs = drawn("SCRN"), sequence()
    exam = tt.examine(layer, inputs, loss=lambda output, targets: output[0][..., HIDDEN:].sum((1, 2)))
    assert exam["l0"].decay_rate.sel(state="c").item() == pytest.approx(math.log(0.9), rel=1e-9)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("lengths", [None, [6, 2, 4]])
def test_every_layer_and_direction_is_examined(name: str, lengths: list[int] | None) -> None:
    layer, inputs = drawn(name, num_layers=2, bidirectional=True), {"input": sequence(), "lengths": lengths}
    exam = tt.examine(layer, inputs, loss=lambda output, targets: output[0].square().sum((1, 2)))
    assert sorted(exam.recurrences) == ["l0", "l0_reverse", "l1", "l1_reverse"]
    for one in exam.recurrences:
        assert exam.weight_terms(one, "weight_hh").attrs["relative_error"] < 1e-9


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tt.SCRN(3, 4, alpha=1.0), ValueError, "alpha: expected between 0 and 1, found 1.0"),
        (lambda: tt.SCRN(3, 4, slow_size=0), ValueError, "slow_size: expected at least 1"),
        (lambda: tt.ResetBeforeGRU(3, 0), ValueError, "hidden_size: expected at least 1, found 0"),
        (lambda: tt.ResetBeforeGRU(3, 4, alpha=0.5), TypeError, "alpha: ResetBeforeGRU takes no such argument"),
        (lambda: tt.SCRN(3, 4)(torch.zeros(2, 1, 3), torch.zeros(1, 1, 4)), ValueError, r"hx: expected 2 state\(s\)"),
    ],
)
def test_bad_arguments(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def _tuple(states: Any) -> tuple[Tensor, ...]:
    return states if isinstance(states, tuple) else (states,)
