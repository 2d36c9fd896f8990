"""Models whose forward pass changes what they keep: every run begins from the same, and nothing is left changed."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

import throughtime as tt


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


class Shared(nn.Module):
    """One buffer is a part of another, and a list holds it as well."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrence = nn.GRU(3, 4)
        base = torch.ones(2, 4)
        self.register_buffer("base", base)
        self.register_buffer("part", base[0])

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        self.base.mul_(2)
        output, last = self.recurrence(inputs)
        return output * self.part, last


def test_a_buffer_that_is_a_part_of_another() -> None:
    torch.manual_seed(0)
    model, inputs = Shared(), torch.randn(12, 3, 3)
    exam = tt.examine(model, inputs, loss=loss)
    assert (model.base == 1).all() and model.part.data_ptr() == model.base.data_ptr()
    output = model.recurrence(inputs)[0]
    (direct,) = torch.autograd.grad((output[-1] * 2).square().sum(), output)
    found = exam["recurrence.l0"].direct_derivative.sel(state="h", loss_step=12).item()
    assert found == pytest.approx(direct[-1].square().sum(-1).mean().log().item() / 2, rel=1e-5)


def made_for_inference() -> Tensor:
    with torch.inference_mode():
        return torch.ones(3, 4)


@pytest.mark.parametrize(
    "buffer",
    [torch.ones(4).expand(3, 4), made_for_inference(), torch.eye(3, 4).to_sparse()],
    ids=["expanded", "inference", "sparse"],
)
def test_unusual_buffers_and_flags_are_left_as_they_were(buffer: Tensor) -> None:
    model = nn.GRU(3, 4)
    model.register_buffer("unusual", buffer)
    model.weight_hh_l0.requires_grad_(False)
    tt.examine(model, torch.randn(12, 3, 3), loss=loss)
    assert model.unusual is buffer and not model.weight_hh_l0.requires_grad
