"""The ways in which terms are computed, each against the others; against autograd they are tested on whole models."""

import pytest
import torch

from throughtime.adjoint import AtOneStep, Pullback, sweep
from throughtime.cells import ALL_CELLS
from throughtime.compiled import read_rows
from throughtime.measures import Film, LagBands, WeightTerms, band_sums, term_norms
from throughtime.unroll import Recurrent, unroll

STEPS, BATCH, HIDDEN = 9, 3, 4


def terms_of(cell, dtype=torch.float64, chunk=STEPS):
    """The terms of random losses, followed so many at once."""
    torch.manual_seed(0)
    layer = Recurrent(cell, 2, HIDDEN, dtype=torch.float64).to(dtype)
    drawn = torch.randn(STEPS, BATCH, 2 * cell.window + 2 * HIDDEN, dtype=torch.float64).to(dtype)
    inputs, direct, start = drawn.split([2 * cell.window, HIDDEN, HIDDEN], dim=-1)
    initial = {state: start[index] for index, state in enumerate(cell.states)}
    weights = layer.weights(0, 0)
    pullback = Pullback(cell, weights, unroll(cell, weights, inputs, initial))
    film = Film(cell.states, STEPS, BATCH, torch.arange(1, STEPS + 1), torch.arange(1, STEPS + 1), causal=True)
    measure = WeightTerms(film, pullback, LagBands.covering(0, STEPS - 1, STEPS))
    for sources in torch.arange(STEPS).split(chunk):
        entering = AtOneStep(direct[sources], sources + 1)
        for frame in sweep(pullback, [entering], len(sources), torch.zeros_like(sources)):
            measure.update(frame.of(sources))
    return measure.result()


def assert_same(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, one in found.items():
        other = expected[name]
        assert torch.equal(one.ln_norm == -torch.inf, other.ln_norm == -torch.inf)
        there = one.ln_norm > -torch.inf
        torch.testing.assert_close(one.ln_norm[there], other.ln_norm[there], rtol=0, atol=tolerance)
        torch.testing.assert_close(one.norms(), other.norms(), rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(one.total(), other.total(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
@torch.no_grad()
def test_forms_are_what_products_are(cell, monkeypatch):
    found = terms_of(cell)
    monkeypatch.setattr(term_norms, "LARGEST_BATCH", 0)
    assert_same(found, terms_of(cell), 1e-10)


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
@torch.no_grad()
def test_nothing_depends_on_how_much_is_done_at_once(cell, monkeypatch):
    found = terms_of(cell)
    monkeypatch.setattr(term_norms, "STEPS_AT_ONCE", 2)
    monkeypatch.setattr(band_sums, "STEPS_AT_ONCE", 4)
    assert_same(found, terms_of(cell, chunk=2), 1e-10)


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
@torch.no_grad()
def test_single_precision(cell):
    assert_same(terms_of(cell, torch.float32), terms_of(cell), 1e-4)


@torch.no_grad()
def test_rows_added_by_torch_are_those_of_the_compiled_loop():
    torch.manual_seed(0)
    vectors = [torch.randn(6, 3, 4), torch.randn(6, 3, 4)]
    log_scale = 200 * torch.randn(6, 3, dtype=torch.float64)
    log_scale[1] = -torch.inf
    band = torch.tensor([0, 3, 2, 2, 0, 0])
    found = []
    for add in (lambda *given: read_rows(*given, band, torch.zeros(0, 6).double(), None), band_sums.add_by_torch):
        scale, sums = torch.full((5,), -torch.inf, dtype=torch.float64), torch.zeros(5, 3, 2, 4)
        add(vectors, log_scale, band, scale, sums)
        found.append((scale, sums))
    torch.testing.assert_close(*found)
