"""Models whose forward pass changes what they keep: every run begins from the same, and nothing is left changed."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import throughtime as tt
from throughtime import ExaminationError


def loss(output: tuple[Tensor, Tensor], _: object) -> Tensor:
    return output[0].square().sum((1, 2))


@pytest.mark.parametrize("norm", [parametrizations.spectral_norm, nn.utils.spectral_norm])
@pytest.mark.filterwarnings("ignore:.*spectral_norm.*is deprecated")
def test_a_spectral_norm_in_training(norm: Callable[..., nn.Module]) -> None:
    """Every look at such a weight improves its estimate of the norm."""
    torch.manual_seed(0)
    module = nn.GRU(4, 8)
    norm(module, "weight_hh_l0")
    before = copy.deepcopy(module.state_dict())
    inputs = torch.randn(12, 3, 4)
    exam = tt.examine(module, inputs, loss=loss)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    # As it stands, what one forward pass makes of the weight.
    output = module(inputs)
    hidden = torch.autograd.grad(loss(output, None).sum(), output[0])[0]
    assert exam.weight_terms("l0", "weight_hh").attrs["relative_error"] < 1e-5
    direct = exam["l0"].direct_derivative.sel(state="h", loss_step=12).item()
    assert direct == pytest.approx(hidden[-1].square().sum(-1).mean().log().item() / 2, rel=1e-5)


class Counting(nn.Module):
    """Its gain grows with every call."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrence = nn.GRU(3, 5)
        self.register_buffer("gain", torch.ones(1))

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        self.gain.add_(1)
        output, last = self.recurrence(inputs)
        return output * self.gain, last


def test_a_buffer_that_is_changed_in_place() -> None:
    torch.manual_seed(0)
    model, inputs = Counting(), torch.randn(12, 3, 3)
    kept, exam = model.gain, tt.examine(model, inputs, loss=loss)
    assert model.gain is kept and model.gain.item() == 1
    (gradient,) = torch.autograd.grad(loss(model(inputs), None).sum(), [model.recurrence.weight_hh_l0])
    assert exam.weight_terms("recurrence.l0", "weight_hh").attrs["relative_error"] < 1e-5
    assert float(exam.weight_terms("recurrence.l0", "weight_hh").norm.sum()) >= float(gradient.norm())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def test_a_scripted_recurrence_is_refused_and_a_scripted_readout_is_not() -> None:
    model = nn.Sequential(nn.GRU(3, 5))
    model.forward = lambda inputs: (model[1](model[0](inputs)[0]), None)
    model.append(torch.jit.script(nn.Sequential(nn.Linear(5, 2), nn.Tanh())))
    assert tt.examine(model, torch.randn(12, 3, 3), loss=loss).recurrences == ["0.l0"]
    model[0] = torch.jit.script(nn.GRU(3, 5))
    with pytest.raises(ExaminationError, match="model: '0' is a scripted GRU, whose steps cannot be seen"):
        tt.examine(model, torch.randn(12, 3, 3), loss=loss)
    with pytest.raises(ExaminationError, match="model: it is scripted"):
        tt.examine(torch.jit.script(nn.GRU(3, 5)), torch.randn(12, 3, 3), loss=loss)
