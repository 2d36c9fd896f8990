"""Kernels against the reference and against finite differences, in every way a sequence can be read.

Compiling takes seconds: the cells that are compiled here have every way in which a state enters, both numbers of
states, learned vectors, gates that the state does not enter, and a product that a gate stands before. The source of
every cell is run as plain Python.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from throughtime.cells import ALL_CELLS, CFN, GRU, LRU, SRU, Cell, IndRNN, MinGRU, Named, PeepholeLSTM
from throughtime.fused.by_kernel import by_kernel
from throughtime.fused.kernel import Kernel
from throughtime.fused.reference import Run, reference

COMPILED = (GRU(), PeepholeLSTM(), CFN(), SRU(), IndRNN("tanh"), MinGRU())
WAYS = ("whole", "reversed", "ragged", "reset", "all")
LAID_OUT: dict[str, Callable[[Tensor], Tensor]] = {
    "first axes turned": lambda one: one.transpose(0, 1).contiguous().transpose(0, 1) if one.dim() > 1 else one,
    "last axes turned": lambda one: one.mT.contiguous().mT if one.dim() > 1 else one,
    "numbers apart": lambda one: one.repeat_interleave(2, -1)[..., ::2],
    "rows apart": lambda one: one.repeat_interleave(3, 0)[1::3],
    "one for all": lambda one: one[:1].expand(one.shape) if one.dim() > 1 else one[:1].expand(len(one)),
}


class Drawn:
    """What a recurrence is run on, all of it differentiable."""

    def __init__(self, cell: Cell, steps: int, batch: int, hidden: int, dtype: torch.dtype = torch.float64) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.cell, self.dtype = cell, dtype
        hidden += hidden % 2 if isinstance(cell, LRU) else 0
        drawn = {name: 0.4 * self.draw(*shape) for name, shape in cell.weight_shapes(2, hidden).items()}
        made = cell.made(drawn)
        self.names = list(made)
        weights = [made[name].detach() for name in self.names]
        states = [self.draw(batch, hidden) for _ in cell.states]
        tensors = [self.draw(steps, batch, made["weight_ih"].shape[1]), *weights, *states]
        self.tensors = [one.requires_grad_() for one in tensors]

    def draw(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def keywords(self, way: str) -> dict[str, Any]:
        """Lengths and resets of the largest batch here and below."""
        steps, batch = self.tensors[0].shape[:2]
        keywords: dict[str, Any] = {"reverse": way in ("reversed", "all")}
        if way in ("ragged", "all"):
            keywords["lengths"] = torch.tensor([steps, 1, steps - 1, 2, steps])[:batch]
        if way in ("reset", "all"):
            keywords["resets"] = torch.rand(steps, batch, generator=self.generator) < 0.3
        return keywords

    def run(self, by: Any, way: str, *tensors: Tensor) -> list[Tensor]:
        """The states of all steps and the last ones."""
        sequence, *rest = tensors or self.tensors
        weights: Named = dict(zip(self.names, rest, strict=False))
        initial = dict(zip(self.cell.states, rest[len(self.names) :], strict=True))
        self.generator.manual_seed(1)
        found: Run = by(self.cell, sequence, weights, initial, **self.keywords(way))
        return [*found.steps.values(), *found.last.values()]

    def gradients(self, outputs: list[Tensor]) -> list[Tensor]:
        """Of the outputs with random weights, at all that was drawn."""
        self.generator.manual_seed(2)
        loss = sum((self.draw(*output.shape) * output).sum() for output in outputs)
        found = torch.autograd.grad(loss, self.tensors, allow_unused=True)
        return [torch.zeros_like(at) if one is None else one for one, at in zip(found, self.tensors, strict=True)]


@pytest.fixture
def poisoned() -> Iterator[None]:
    """Memory that is not written to holds NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(self: Kernel, way: str, arguments: object) -> Callable[..., None]:
        every = self.function(way).py_func
        some = every.__globals__[f"{way}_of"]
        monkeypatch.setitem(every.__globals__, f"{way}_of", getattr(some, "py_func", some))
        return every

    monkeypatch.setattr(Kernel, "compiled", plain)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("cell", COMPILED, ids=repr)
def test_outputs_and_gradients_are_those_of_the_reference(cell: Cell, way: str) -> None:
    drawn = Drawn(cell, 63, 5, 37)
    found, expected = drawn.run(by_kernel, way), drawn.run(reference, way)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(drawn.gradients(found), drawn.gradients(expected), rtol=1e-9, atol=1e-10)


@pytest.mark.usefixtures("poisoned")
def test_single_precision() -> None:
    drawn = Drawn(GRU(), 63, 5, 37, torch.float32)
    found, expected = drawn.run(by_kernel, "all"), drawn.run(reference, "all")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(drawn.gradients(found), drawn.gradients(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("poisoned", "as_python")
@pytest.mark.parametrize("way", ["whole", "all"])
@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_the_source_of_every_cell(cell: Cell, way: str) -> None:
    drawn = Drawn(cell, 5, 3, 3)
    found, expected = drawn.run(by_kernel, way), drawn.run(reference, way)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(drawn.gradients(found), drawn.gradients(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("as_python")
@pytest.mark.parametrize("way", ["ragged", "all"])
@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_derivatives_of_every_cell_by_finite_differences(cell: Cell, way: str) -> None:
    drawn = Drawn(cell, 3, 2, 2)

    def outputs(*tensors: Tensor) -> list[Tensor]:
        return drawn.run(by_kernel, way, *tensors)

    assert torch.autograd.gradcheck(outputs, drawn.tensors, fast_mode=True)
    assert torch.autograd.gradgradcheck(outputs, drawn.tensors, fast_mode=True)


@pytest.mark.parametrize("way", ["whole", "all"])
@pytest.mark.parametrize("cell", COMPILED, ids=repr)
def test_first_and_second_derivatives_by_finite_differences(cell: Cell, way: str) -> None:
    drawn = Drawn(cell, 4, 3, 2)

    def outputs(*tensors: Tensor) -> list[Tensor]:
        return drawn.run(by_kernel, way, *tensors)

    assert torch.autograd.gradcheck(outputs, drawn.tensors, fast_mode=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(outputs, drawn.tensors, fast_mode=True)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("cell", COMPILED, ids=repr)
def test_no_digit_but_of_weight_gradients_depends_on_the_number_of_threads(cell: Cell) -> None:
    drawn = Drawn(cell, 9, 14, 11)
    found, of_weights, threads = [], [], torch.get_num_threads()
    for number in (1, 2, 3):
        torch.set_num_threads(number)
        outputs = drawn.run(by_kernel, "reset")
        of_input, *rest, of_state = drawn.gradients(outputs)
        found.append([*outputs, of_input, of_state])
        of_weights.append(rest)
    torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(one, another) for one, another in zip(found[0], other, strict=True))
    # What the samples add to the gradients of weights is summed by part, and then over the parts.
    for other in of_weights[1:]:
        torch.testing.assert_close(other, of_weights[0], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("wanted", ["last h", "steps h", "last c"])
def test_a_loss_on_some_outputs_only(wanted: str) -> None:
    drawn, state = Drawn(PeepholeLSTM(), 4, 3, 3), wanted[-1]
    found = []
    for by in (by_kernel, reference):
        outputs = drawn.run(by, "whole")
        of = dict(zip(("steps h", "steps c", "last h", "last c"), outputs, strict=True))
        found.append(drawn.gradients([of[wanted]]))
    assert state in drawn.cell.states
    torch.testing.assert_close(*found)


def test_without_gradients_and_without_a_bias() -> None:
    drawn = Drawn(GRU(), 4, 3, 3)
    for name in ("bias_ih", "bias_hh"):
        del drawn.tensors[drawn.names.index(name) + 1]
        drawn.names.remove(name)
    with torch.no_grad():
        torch.testing.assert_close(drawn.run(by_kernel, "whole"), drawn.run(reference, "whole"))
    torch.testing.assert_close(*(drawn.gradients(drawn.run(by, "whole")) for by in (by_kernel, reference)))


def test_an_empty_batch() -> None:
    drawn = Drawn(GRU(), 4, 0, 3)
    outputs = drawn.run(by_kernel, "whole")
    assert [tuple(one.shape) for one in outputs] == [(4, 0, 3), (0, 3)]
    assert all((one == 0).all() for one in drawn.gradients(outputs))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("way", ["whole", "all"])
@pytest.mark.parametrize("laid_out", LAID_OUT)
@pytest.mark.parametrize("cell", [GRU(), PeepholeLSTM(), IndRNN("tanh")], ids=repr)
def test_however_tensors_lie_in_memory(cell: Cell, laid_out: str, way: str) -> None:
    drawn = Drawn(cell, 4, 3, 3)
    lay = LAID_OUT[laid_out]
    laid = [lay(one.detach()).requires_grad_() for one in drawn.tensors]
    plain = [one.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for one in laid]
    assert not laid[0].is_contiguous()
    found, expected = drawn.run(by_kernel, way, *laid), drawn.run(reference, way, *plain)
    torch.testing.assert_close(found, expected)
    at_outputs = [lay(drawn.draw(*output.shape)) for output in found]
    of_found = torch.autograd.grad(found, laid, at_outputs)
    of_expected = torch.autograd.grad(expected, plain, at_outputs)
    torch.testing.assert_close(of_found, of_expected)
