"""Products of values with the adjoints of many rows, against the sums written out."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from throughtime.compiled import add_by_band, add_by_sample

STEPS, BANDS, BATCH, VECTORS, HIDDEN, PARTS, VALUES = 5, 6, 3, 2, 7, 3, 4
DTYPES = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])


@pytest.fixture(params=[1, 4], ids="{} threads".format, autouse=True)
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


@dataclass
class Drawn:
    """Rows, what is made of them, and the adjoints written out, (step, band, batch, part, hidden), float64."""

    rows: Tensor
    ln_scale: Tensor
    values: Tensor
    slopes: Tensor
    which: Tensor
    adjoint: Tensor


def drawn(dtype: torch.dtype, which: list[tuple[int, int]]) -> Drawn:
    """The last part has no slope, a band no rows at all, another one none at some steps."""
    torch.manual_seed(0)
    rows = torch.randn(STEPS, BANDS, BATCH, VECTORS, HIDDEN, dtype=dtype)
    ln_scale = torch.randn(STEPS, BANDS, dtype=torch.float64)
    ln_scale[:, 2] = ln_scale[1:3, 4] = -torch.inf
    slopes = torch.randn(len(which), STEPS, BATCH, HIDDEN, dtype=dtype)
    adjoint = torch.zeros(STEPS, BANDS, BATCH, PARTS, HIDDEN, dtype=torch.float64)
    for (vector, part), slope in zip(which, slopes.double(), strict=True):
        adjoint[:, :, :, part] += rows[:, :, :, vector].double() * slope.unsqueeze(1)
    adjoint *= ln_scale.exp()[:, :, None, None, None]
    values = torch.randn(STEPS, BATCH, VALUES, dtype=dtype)
    numbers = torch.tensor(which, dtype=torch.long).view(-1, 2).T.contiguous()
    return Drawn(rows, ln_scale, values, slopes, numbers, adjoint)


@DTYPES
@pytest.mark.parametrize("which", [[(0, 0), (1, 0), (1, 1)], []], ids=["slopes", "no slopes"])
def test_by_band(dtype: torch.dtype, tolerance: float, which: list[tuple[int, int]]) -> None:
    given = drawn(dtype, which)
    sums = torch.randn(VALUES, BANDS, PARTS * HIDDEN, dtype=dtype)
    product = torch.einsum("sbv,skbph->vkph", given.values.double(), given.adjoint).flatten(2)
    expected = sums.double()
    expected[:, 1:5] += product[:, 1:5]
    add_by_band(sums, 1, 5, given.rows, given.ln_scale, given.values, given.slopes, given.which)
    torch.testing.assert_close(sums.double(), expected, rtol=tolerance, atol=tolerance)


@DTYPES
@pytest.mark.parametrize("which", [[(0, 0), (1, 0), (1, 1)], []], ids=["slopes", "no slopes"])
def test_by_sample(dtype: torch.dtype, tolerance: float, which: list[tuple[int, int]]) -> None:
    given, octave = drawn(dtype, which), torch.tensor([0, 1, 1, 1, 3, 3])
    sums = torch.randn(BATCH, VALUES, 4, PARTS * HIDDEN, dtype=dtype)
    by_octave = torch.zeros(STEPS, 4, BATCH, PARTS, HIDDEN, dtype=torch.float64).index_add_(1, octave, given.adjoint)
    expected = sums.double() + torch.einsum("sbv,sobph->bvoph", given.values.double(), by_octave).flatten(3)
    add_by_sample(sums, octave, given.rows, given.ln_scale, given.values, given.slopes, given.which)
    torch.testing.assert_close(sums.double(), expected, rtol=tolerance, atol=tolerance)
