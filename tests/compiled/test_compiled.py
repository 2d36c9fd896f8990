"""The compiled loops against the same sums in PyTorch."""

import pytest
import torch

from throughtime.compiled import add_rows, ln_quadratic_forms, path_products

DTYPES = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])


def rows_by_sample(batch, count, hidden, dtype):
    """As a sweep lays them out: by sample, and a part of the rows."""
    return torch.randn(batch, count + 3, hidden, dtype=dtype).transpose(0, 1)[:count]


@DTYPES
@pytest.mark.parametrize("vectors", [1, 2])
def test_quadratic_forms(dtype, tolerance, vectors):
    torch.manual_seed(0)
    batch, count, hidden, forms = 3, 5, 7, 2
    given = [rows_by_sample(batch, count, hidden, dtype) for _ in range(vectors)]
    log_scale = 200 * torch.randn(count, 1, dtype=torch.float64) + torch.randn(count, batch, dtype=torch.float64)
    log_scale[2] = -torch.inf
    # Positive definite for every unit, so that no sum cancels.
    root = torch.randn(forms, hidden, vectors * batch, vectors * batch, dtype=torch.float64)
    whole = root @ root.transpose(-1, -2)
    pairs = torch.combinations(torch.arange(vectors * batch), 2, with_replacement=True).T.contiguous()
    times = torch.where(pairs[0] == pairs[1], 1.0, 2.0).double().unsqueeze(-1)
    form = whole[:, :, pairs[0], pairs[1]].transpose(1, 2) * times
    ln_scale = torch.tensor([3.0, -1.0], dtype=torch.float64)
    places = torch.tensor([4, 0, 1, 5, 2])
    into = torch.full((forms, 6, 4), torch.nan, dtype=torch.float64)
    assert ln_quadratic_forms(given, log_scale, form.to(dtype), ln_scale, pairs, places, 2, into, -torch.inf)
    largest = log_scale.amax(1, keepdim=True).masked_fill(log_scale == -torch.inf, 0.0)
    together = torch.cat([one.double() * (log_scale - largest).exp().unsqueeze(-1) for one in given], dim=1)
    squares = torch.einsum("seh,fheg,sgh->fs", together, whole, together)
    expected = squares.log() / 2 + largest[:, 0] + ln_scale.unsqueeze(-1)
    expected[:, 2] = -torch.inf
    torch.testing.assert_close(into[:, places, 2], expected, rtol=0, atol=tolerance)
    into[:, places, 2] = torch.nan
    assert into.isnan().all()


def test_a_sum_that_cancels_is_not_trusted():
    given = [torch.ones(1, 2, 4)]
    pairs = torch.tensor([[0, 0, 1], [0, 1, 1]])
    form = torch.tensor([1.0, -2.0, 1.0]).reshape(1, 3, 1).expand(1, 3, 4).contiguous()
    into = torch.zeros(1, 1, 1, dtype=torch.float64)
    zeros, row = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([0])
    assert not ln_quadratic_forms(given, zeros, form, torch.zeros(1).double(), pairs, row, 0, into, 1e-25)
    assert into.item() == -torch.inf
    # A form that is zero itself is.
    nothing = torch.tensor([-torch.inf], dtype=torch.float64)
    assert ln_quadratic_forms(given, zeros, 0 * form, nothing, pairs, row, 0, into, 1e-25)


@DTYPES
def test_row_sums(dtype, tolerance):
    torch.manual_seed(0)
    batch, count, hidden = 3, 9, 5
    # Of different layouts in memory, as a projection leaves them.
    given = [rows_by_sample(batch, count, hidden, dtype), torch.randn(count, batch, hidden, dtype=dtype)]
    log_scale = 300 * torch.randn(count, batch, dtype=torch.float64)
    log_scale[4] = -torch.inf
    band = torch.tensor([0, 0, 3, 3, 1, 3, 2, 2, 2])
    scale = torch.full((5,), -torch.inf, dtype=torch.float64)
    into = torch.zeros(5, batch, 2, hidden, dtype=dtype)
    add_rows(given, log_scale, band, scale, into)
    for one in range(5):
        members = log_scale[band == one]
        assert scale[one] == (members.max() if len(members) else -torch.inf)
        if scale[one] == -torch.inf:
            assert (into[one] == 0).all()
            continue
        rows = torch.stack(given, 2)[band == one].double() * (members - scale[one]).exp()[..., None, None]
        torch.testing.assert_close(into[one].double(), rows.sum(0), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1.0, 1e-30])
def test_path_products(dtype, size):
    """Also of numbers whose squares are beyond float32."""
    torch.manual_seed(0)
    paths = (size * torch.randn(3, 4, 2, 7, dtype=torch.float64)).to(dtype)
    with_sum, squares = path_products(paths)
    exact = paths.double()
    products = torch.einsum("prbh,qrbh->pqrb", exact, exact)
    torch.testing.assert_close(with_sum / size**2, products.sum(1) / size**2, rtol=0, atol=1e-12)
    torch.testing.assert_close(squares, products.diagonal().permute(2, 0, 1), rtol=1e-12, atol=0)
