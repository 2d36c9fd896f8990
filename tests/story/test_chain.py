"""The chain rule through time: its terms against naive autograd, its matrices against torch.func, in float64."""

import math

import pytest
import torch
from torch.func import jacrev

from throughtime.cells import derive
from throughtime.compare.next_word import untrained
from throughtime.notation import CANDIDATE, CARRY, KEEP_GATE, WRITE_GATE
from throughtime.story.chain import WEIGHTS, chain
from throughtime.story.jacobians import Products, immediate_slopes, path_jacobians, total_derivative
from throughtime.tasks.agreement import VOCABULARY
from throughtime.unroll import Weights, unroll

WORDS = VOCABULARY.encode("the cats that I saw near wugs").ids
TARGET = VOCABULARY.ids["were"]
SHOWN = {"was": VOCABULARY.ids["was"], "were": TARGET}


@pytest.fixture(params=["RNN", "RNN with ReLU", "Gated", "GRU"])
def network(request):
    return untrained(request.param, seed=3).double()


def trajectory(network, words=WORDS):
    layer = network.recurrence
    inputs = network.embedding(torch.tensor(words)).detach().unsqueeze(1)
    return unroll(layer.cell, layer.weights(0, 0), inputs, {"h": torch.zeros(1, layer.hidden_size).double()})


def naive_terms(network):
    """Every step has weights of its own: their gradients are the terms."""
    layer = network.recurrence
    own = layer.weights(0, 0).named()
    hidden, copies = torch.zeros(1, layer.hidden_size).double(), []
    for word in WORDS:
        copies.append({name: weight.detach().clone().requires_grad_() for name, weight in own.items()})
        step = unroll(layer.cell, Weights(**copies[-1]), network.embedding(torch.tensor([[word]])), {"h": hidden})
        hidden = step.states["h"][-1]
    loss = torch.nn.functional.cross_entropy(network.readout(hidden), torch.tensor([TARGET]))
    loss.backward()
    return loss, [{weight: copy[name].grad for weight, name in WEIGHTS.items()} for copy in copies]


def test_every_term_is_the_gradient_of_its_own_copy_of_the_weights(network):
    loss, naive = naive_terms(network)
    told = chain(network, torch.tensor(WORDS), TARGET, SHOWN)
    assert told.loss == pytest.approx(float(loss.detach()), rel=1e-12)
    assert [term.step for term in told.terms] == list(range(len(WORDS), 0, -1))
    for weight in WEIGHTS:
        whole = sum(terms[weight] for terms in naive)
        for term in told.terms:
            own = naive[term.step - 1][weight]
            assert math.exp(term.ln_norm[weight]) == pytest.approx(float(own.norm()), rel=1e-9, abs=1e-300)
            share = float((own * whole).sum() / whole.square().sum())
            assert term.share[weight] == pytest.approx(share, rel=1e-9, abs=1e-12)
        assert sum(term.share[weight] for term in told.terms) == pytest.approx(1)
        gradient = told.gradients[weight]
        assert gradient.norm == pytest.approx(float(whole.norm()), rel=1e-12)
        assert gradient.relative_error < 1e-12


def test_the_factors_multiply_to_the_gradient(network):
    run = trajectory(network)
    layer = network.recurrence
    weights = layer.weights(0, 0)
    jacobians = torch.stack(list(path_jacobians(layer.cell, weights, run).values())).sum(0).detach()
    slopes, products = immediate_slopes(layer.cell, run), Products.of(jacobians)
    for weight, read in (("W_hx", run.inputs[:, 0]), ("W_hh", run.states["h"][:-1, 0].detach())):
        name = WEIGHTS[weight]

        def last_hidden(value, name=name):
            changed = Weights(**{**weights.named(), name: value})
            return unroll(layer.cell, changed, run.inputs, {"h": torch.zeros(1, 64).double()}).states["h"][-1, 0]

        expected = jacrev(last_hidden)(getattr(weights, name).detach())
        actual = total_derivative(products, slopes[weight], read).flatten(1, 2)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-13)


def test_the_paths_add_up_to_the_step_jacobian(network):
    run, layer = trajectory(network), network.recurrence
    weights = layer.weights(0, 0)
    paths = path_jacobians(layer.cell, weights, run)
    assert list(paths) == list(derive(layer.cell).paths)
    for i, matrix in enumerate(torch.stack(list(paths.values())).sum(0)):

        def step(hidden, i=i):
            u = torch.nn.functional.linear(hidden, weights.weight_hh, weights.bias_hh)
            return layer.cell.reference_step(run.input_pre[i, 0], u, hidden)[0]

        torch.testing.assert_close(matrix, jacrev(step)(run.states["h"][i, 0]), rtol=1e-10, atol=1e-13)


def test_the_gated_layer_has_the_four_paths():
    told = chain(untrained("Gated").double(), torch.tensor(WORDS), TARGET, SHOWN)
    for jacobian in told.jacobians:
        assert tuple(jacobian.paths) == (CARRY, KEEP_GATE, CANDIDATE, WRITE_GATE)
        assert jacobian.norm <= sum(jacobian.paths.values()) + 1e-12
        assert jacobian.slopes is None


def test_slopes_and_weights_bound_the_step_jacobian():
    told = chain(untrained("RNN").double(), torch.tensor(WORDS), TARGET, SHOWN)
    for jacobian in told.jacobians:
        mean, largest = jacobian.slopes
        assert 0 < mean <= largest <= 1
        assert jacobian.norm <= largest * told.weight_norm["h"] + 1e-12


def test_products_far_below_the_smallest_float_keep_their_size():
    jacobians = (1e-9 * torch.eye(3, dtype=torch.float64)).expand(200, 3, 3)
    products = Products.of(jacobians)
    assert float(products.ln_scale[0]) == pytest.approx(199 * math.log(1e-9) + math.log(3) / 2, rel=1e-9)
    assert products.matrices.isfinite().all()


def test_a_product_with_a_zero_matrix_is_zero():
    jacobians = torch.ones(4, 2, 2).double()
    jacobians[2] = 0
    products = Products.of(jacobians)
    assert products.ln_scale.tolist() == [-math.inf, -math.inf, pytest.approx(math.log(2)), 0]
    assert products.matrices.isfinite().all()


def test_one_word_has_one_term_and_no_step_jacobian(network):
    told = chain(network, torch.tensor(WORDS[:1]), TARGET, SHOWN)
    assert len(told.terms) == 1
    assert told.jacobians == ()
    assert told.terms[0].ln_product == 0
    assert told.gradients["W_hh"].autograd == 0


def test_a_cell_with_two_states_is_refused():
    with pytest.raises(ValueError, match="only state is h"):
        chain(untrained("LSTM").double(), torch.tensor(WORDS), TARGET, SHOWN)


def test_a_wrong_derivation_is_noticed(monkeypatch):
    monkeypatch.setattr("throughtime.story.chain.immediate_slopes", lambda *_: {
        weight: torch.ones(len(WORDS), 1, 64).double() for weight in WEIGHTS
    })  # fmt: skip
    with pytest.raises(ArithmeticError, match="autograd says"):
        chain(untrained("RNN").double(), torch.tensor(WORDS), TARGET, SHOWN)


def test_what_is_certain_of_something_else_has_no_gradient(network):
    with torch.no_grad():
        network.readout.weight.mul_(1e5)
    target = int(network(torch.tensor([WORDS]).T)[-1, 0].argmin())
    with pytest.raises(ValueError, match="gives the word that should follow a probability of 0 in float64"):
        chain(network, torch.tensor(WORDS), target, {})
