import math

import pytest
import torch

from throughtime.adjoint import Scaled
from throughtime.capture import ExaminationError


def scaled(values, log_scale):
    return Scaled({"h": torch.tensor(values)}, torch.tensor(log_scale, dtype=torch.float64))


def test_a_sum_of_very_different_sizes_keeps_the_larger():
    rows = scaled([[[1.0, 2.0]], [[1.0, 2.0]]], [[-5000.0], [0.0]])
    rows.add_("h", torch.tensor([0]), torch.tensor([[[3.0, 4.0]]]), torch.tensor([[-4000.0]]).double())
    assert rows.log_scale.tolist() == [[-4000.0], [0.0]]
    assert rows.values["h"].tolist() == [[[3.0, 4.0]], [[1.0, 2.0]]]


def test_a_zero_row_takes_the_scale_of_what_is_added():
    rows = scaled([[[0.0, 0.0]]], [[-math.inf]])
    rows.add_("h", torch.tensor([0]), torch.tensor([[[3.0, 4.0]]]), torch.tensor([[-7.0]]).double())
    assert float(rows.ln_square("h")) == pytest.approx(2 * (math.log(5) - 7))


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_norms_that_are_known_stay_those_of_the_rows(empty, given):
    values = torch.tensor([[[0.0, 0.0] if empty else [1.0, 2.0]], [[6.0, 8.0]]])
    scales = torch.tensor([[-math.inf if empty else 1.0], [0.0]], dtype=torch.float64)
    rows = Scaled({"h": values}, scales, {"h": torch.linalg.vector_norm(values.double(), dim=-1)})
    added = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[2.0]]).double(), torch.tensor([[5.0]]).double()
    rows.add_("h", slice(0, 1), *added[: 3 if given else 2])
    torch.testing.assert_close(rows.norms["h"], torch.linalg.vector_norm(rows.values["h"].double(), dim=-1))
    assert rows.norms["h"][1] == 10


def test_normalising_moves_the_size_into_the_scale_and_loses_no_bit():
    values = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0)) * 1e-25
    rows = Scaled({"h": values.clone()}, torch.zeros(3, 2, dtype=torch.float64))
    moved = rows.normalised_()
    assert (moved.norms["h"].log().abs() < 1).all()
    factor = torch.exp2((moved.log_scale / math.log(2)).round()).float().unsqueeze(-1)
    assert torch.equal(moved.values["h"] * factor, values)


def test_zero_rows_are_marked():
    assert scaled([[[0.0, 0.0]]], [[3.0]]).normalised_().log_scale.tolist() == [[-math.inf]]


def test_what_is_not_finite_is_refused():
    with pytest.raises(ExaminationError, match="float64"):
        scaled([[[math.inf, 0.0]]], [[0.0]]).normalised_()
