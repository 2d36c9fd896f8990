"""What one would look at without Throughtime, each with the thresholds that its users publish.

Each is asked only about what it could tell: see `answers`.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faults.planted import STEPS, Case

# The same hundredfold that Throughtime calls vanishing and exploding, so that none is judged by a finer measure.
HUNDREDFOLD = 100.0
# Mean of the absolute gradient of a parameter (Amazon SageMaker Debugger, rule VanishingGradient).
VANISHED = 1e-7
# Norm of the gradient of the mean loss of a batch (Sutskever, Vinyals, Le 2014, arXiv:1409.3215, section 3.4).
EXPLODED = 5.0

DEAD, VANISHING, EXPLODING = "dead", "vanishing", "exploding"
# What Throughtime's verdicts are called where nothing is told but the size of a gradient.
PLAINLY = {VANISHING: VANISHING, EXPLODING: EXPLODING, "readout-bound": DEAD, "dead ReLU": DEAD}


class Rival(ABC):
    """One way to look at a network.

    Attributes:
        name: As in the table.
        answers: What it can say besides nothing.
    """

    name: ClassVar[str]
    answers: ClassVar[frozenset[str]]

    def can_look_at(self, case: Case) -> bool:
        """Whether it applies to such a network at all."""
        return True

    @abstractmethod
    def verdicts(self, case: Case) -> frozenset[str]:
        """What it says; nothing of a network that it takes for healthy."""


class OutputHook(Rival):
    """The gradient at a recurrent layer's output, its first steps against its last."""

    name = "hook on the layer's output"
    answers = frozenset({DEAD, VANISHING, EXPLODING})

    def verdicts(self, case: Case) -> frozenset[str]:
        """By the root mean square over a tenth of the steps at either end."""
        seen: list[Tensor] = []

        def keep(module: nn.Module, inputs: Any, result: Any) -> None:
            output = result[0] if isinstance(result[0], Tensor) else result[0].data
            output.retain_grad()
            seen.append(output)

        hook = case.model.layer.register_forward_hook(keep)
        try:
            case.losses().sum().backward()
        finally:
            hook.remove()
            case.model.zero_grad()
        gradients = [output.grad.flatten(1) for output in seen if output.grad is not None]
        if not gradients:
            # The model reads the last state, not the outputs: a hook on these has nothing to show.
            return frozenset()
        sizes = torch.cat(gradients).norm(dim=1)
        if not sizes.any():
            return frozenset({DEAD})
        tenth = max(1, len(sizes) // 10)
        first, last = sizes[:tenth].norm(), sizes[-tenth:].norm()
        return _compared(float(first), float(last))


class ParameterNorms(Rival):
    """The gradient of every parameter of a recurrent layer, as training loops log it."""

    name = "gradient norms per parameter"
    answers = frozenset({DEAD, VANISHING, EXPLODING})

    def verdicts(self, case: Case) -> frozenset[str]:
        """By the mean of the absolute values, and by the norm, of the gradient of the mean loss."""
        losses = case.losses()
        (losses.mean() / case.batch).backward()
        gradients = [parameter.grad for parameter in case.model.layer.parameters() if parameter.grad is not None]
        case.model.zero_grad()
        if not any(gradient.any() for gradient in gradients):
            return frozenset({DEAD})
        if any(gradient.abs().mean() < VANISHED for gradient in gradients):
            return frozenset({VANISHING})
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        return frozenset({EXPLODING} if not norm <= EXPLODED else ())


class SpectralRadius(Rival):
    """The largest modulus of an eigenvalue of `weight_hh`, to the power of the steps."""

    name = "spectral radius of weight_hh"
    answers = frozenset({VANISHING, EXPLODING})

    def can_look_at(self, case: Case) -> bool:
        """A gated cell has several matrices, and none of them decides."""
        return bool(_recurrent_matrices(case.model.layer))

    def verdicts(self, case: Case) -> frozenset[str]:
        """By what becomes of a vector over the sequence, were there no slopes."""
        radii = [float(torch.linalg.eigvals(one).abs().max()) for one in _recurrent_matrices(case.model.layer)]
        return frozenset().union(*(_compared(radius ** (STEPS - 1), 1.0) for radius in radii))


RIVALS: tuple[Rival, ...] = (OutputHook(), ParameterNorms(), SpectralRadius())


def _compared(far: float, near: float) -> frozenset[str]:
    if far * HUNDREDFOLD <= near:
        return frozenset({VANISHING})
    return frozenset({EXPLODING} if far >= HUNDREDFOLD * near else ())


def _recurrent_matrices(layer: nn.Module) -> list[Tensor]:
    found = [weight.detach() for name, weight in layer.named_parameters() if name.startswith("weight_hh")]
    squared = [torch.diag(weight) if weight.ndim == 1 else weight for weight in found]
    return [weight for weight in squared if weight.shape[0] == weight.shape[1]]
