"""What a planted network is: how it is built, and which verdicts it must get."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

import throughtime as tt
from throughtime.examination import Examination

# Small enough for a second a network, long enough for a hundredfold change at 0.12 nats per step.
STEPS, BATCH, FEATURES, UNITS = 45, 6, 4, 24

Loss = Callable[[Any, Any], Tensor]


class Reader(nn.Module):
    """A recurrent layer, and a linear readout of what it gives out at every step.

    Args:
        layer: Called with the inputs; its output comes first.
        width: Features of its output.
    """

    def __init__(self, layer: nn.Module, width: int = UNITS) -> None:
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(width, 1)

    def forward(self, inputs: Any) -> Tensor:
        """One number per step and sample."""
        return self.readout(self.layer(inputs)[0])


@dataclass(frozen=True)
class Case:
    """What `throughtime.examine` is called with.

    Args:
        model: The network.
        inputs: Of the model.
        loss: Of its output and the targets.
        targets: Handed to the loss.
        keywords: Further ones of `throughtime.examine`.
    """

    model: nn.Module
    inputs: Any
    loss: Loss
    targets: Any = None
    keywords: Mapping[str, Any] = field(default_factory=dict)

    def examined(self) -> Examination:
        """By Throughtime."""
        return tt.examine(self.model, self.inputs, self.targets, self.loss, **self.keywords)

    @property
    def batch(self) -> int:
        """Samples."""
        return BATCH

    def losses(self) -> Tensor:
        """By a plain forward pass, as in training."""
        return self.loss(self.model(self.inputs), self.targets)


@dataclass(frozen=True)
class Planted:
    """One network.

    Args:
        name: What was done to it, in a few words.
        build: Makes it, always the same.
        expected: By recurrence, the verdicts that it must get, no more and no fewer. A recurrence that is not named
            must be healthy; a network that names none is.
    """

    name: str
    build: Callable[[], Case]
    expected: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def built(self, seed: int = 0) -> Case:
        """The same numbers for a seed at every call, and the caller's random state as it was."""
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            return self.build()


def ill(name: str, build: Callable[[], Case], *verdicts: str, **recurrences: tuple[str, ...]) -> Planted:
    """A network with a known illness of its only recurrence, or of those that are named: l1=("dead ReLU",)."""
    by_name = {"l0": verdicts} if verdicts else recurrences
    return Planted(name, build, {f"layer.{one}": frozenset(those) for one, those in by_name.items()})


def plain(layer: type[nn.Module], **options: Any) -> nn.Module:
    """A layer of ours, run by its equations: to compile a kernel for each takes longer than all that is run here."""
    return layer(FEATURES, UNITS, backend="reference", **options)


def every_step(output: Tensor, targets: Tensor | None) -> Tensor:
    """One loss per step: half the squared error, summed over the batch."""
    return (output - (0 if targets is None else targets)).square().sum((1, 2)) / 2


def last_step(output: Tensor, targets: Tensor | None) -> Tensor:
    """A scalar: the loss of the last step alone."""
    return every_step(output, targets)[-1]


def reading(layer: nn.Module, width: int = UNITS, loss: Loss = every_step, scale: float = 1.0, **keywords: Any) -> Case:
    """A layer with a readout, normal inputs and normal targets, (time, batch, features)."""
    inputs, targets = scale * torch.randn(STEPS, BATCH, FEATURES), torch.randn(STEPS, BATCH, 1)
    model = Reader(layer, width)
    return Case(model, inputs, loss, targets, keywords)
