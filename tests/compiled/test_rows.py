"""What rows are read for, against the same in PyTorch."""

import pytest
import torch

from throughtime.compiled import Forms, read_rows, rows

BATCH, COUNT, HIDDEN, BANDS, FORMS = 3, 9, 7, 5, 3
DTYPES = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
BAND = torch.tensor([0, 0, 3, 3, 1, 3, 2, 2, 2])
PLACES = torch.tensor([4, 0, 1, 5, 2, 11, 9, 8, 3])


@pytest.fixture(params=[1, 3], ids="{} threads".format, autouse=True)
def threads(request, monkeypatch):
    """As if torch had so many, each with some of the rows."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)
    monkeypatch.setattr(rows, "ROWS_A_THREAD", 2)


def given_rows(vectors, dtype):
    """Rows of which every sample lies by itself, as a sweep leaves them, and others in order; some are zero."""
    torch.manual_seed(0)
    laid_out = torch.randn(BATCH, COUNT + 3, HIDDEN, dtype=dtype).transpose(0, 1)[:COUNT]
    log_scale = 200 * torch.randn(COUNT, 1, dtype=torch.float64) + torch.randn(COUNT, BATCH, dtype=torch.float64)
    log_scale[4] = log_scale[6, 1] = -torch.inf
    return [laid_out, torch.randn(COUNT, BATCH, HIDDEN, dtype=dtype)][:vectors], log_scale


def read(vectors, log_scale, forms):
    scale = torch.full((BANDS,), -torch.inf, dtype=torch.float64)
    sums = torch.zeros(BANDS, BATCH, len(vectors), HIDDEN, dtype=vectors[0].dtype)
    roots = torch.full((FORMS, 12, 4), torch.nan, dtype=torch.float64)
    trusted = read_rows(vectors, log_scale, BAND, scale, sums, PLACES, roots[:, :, 2], forms)
    return trusted, scale, sums, roots


@DTYPES
@pytest.mark.parametrize("vectors", [1, 2])
def test_quadratic_forms(dtype, tolerance, vectors):
    given, log_scale = given_rows(vectors, dtype)
    members = vectors * BATCH
    slopes, which = torch.randn(2, members, 2, HIDDEN, dtype=torch.float64).to(dtype), torch.tensor([1, 0, 1])
    # Positive definite, so that no sum cancels.
    root = torch.randn(FORMS, members, members, dtype=torch.float64)
    of_pairs = root @ root.transpose(-1, -2)
    pairs = torch.combinations(torch.arange(members), 2, with_replacement=True).T.contiguous()
    times = torch.where(pairs[0] == pairs[1], 1.0, 2.0).double()
    ln_scale = torch.tensor([3.0, -1.0, 0.0], dtype=torch.float64)
    forms = Forms(slopes, of_pairs[:, pairs[0], pairs[1]] * times, which, ln_scale, pairs, -torch.inf)
    trusted, _, _, roots = read(given, log_scale, forms)
    assert trusted
    largest = log_scale.amax(1, keepdim=True).clamp(min=-1e6)
    together = torch.cat([one.double() * (log_scale - largest).exp().unsqueeze(-1) for one in given], dim=1)
    scaled = together.unsqueeze(2) * slopes[which].double().unsqueeze(1)
    squares = torch.einsum("fseph,feg,fsgph->fs", scaled, of_pairs, scaled)
    expected = squares.log() / 2 + largest[:, 0] + ln_scale.unsqueeze(-1)
    expected[:, 4] = -torch.inf
    torch.testing.assert_close(roots[:, PLACES, 2], expected, rtol=0, atol=tolerance)
    roots[:, PLACES, 2] = torch.nan
    assert roots.isnan().all()


def test_a_sum_that_cancels_is_not_trusted():
    pairs = torch.tensor([[0, 0, 1], [0, 1, 1]])
    slopes, by_pair = torch.ones(1, 2, 1, 4), torch.tensor([[1.0, -2.0, 1.0]], dtype=torch.float64)
    roots, zero = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0])

    def trusted(by_pair, ln_scale):
        forms = Forms(slopes, by_pair, zero, torch.tensor([ln_scale], dtype=torch.float64), pairs, 1e-25)
        scales, sums = torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, 2, 1, 4)
        return read_rows([torch.ones(1, 2, 4)], scales, zero, -torch.ones(1).double().log(), sums, zero, roots, forms)

    assert not trusted(by_pair, 0.0)
    assert roots.item() == -torch.inf
    # A form that is zero itself is.
    assert trusted(0 * by_pair, -torch.inf)


@DTYPES
@pytest.mark.parametrize("vectors", [1, 2])
def test_sums_by_band(dtype, tolerance, vectors):
    given, log_scale = given_rows(vectors, dtype)
    trusted, scale, sums, roots = read(given, log_scale, None)
    assert not trusted
    assert roots.isnan().all()
    for one in range(BANDS):
        members = log_scale[BAND.eq(one)]
        assert scale[one] == (members.max() if len(members) else -torch.inf)
        if scale[one] == -torch.inf:
            assert (sums[one] == 0).all()
            continue
        added = torch.stack(given, 2)[BAND.eq(one)].double() * (members - scale[one]).exp()[..., None, None]
        torch.testing.assert_close(sums[one].double(), added.sum(0), rtol=tolerance, atol=tolerance)
