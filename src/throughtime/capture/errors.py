"""What an examination says when it cannot go on."""

from __future__ import annotations

from typing import Any

from jaxtyping import Int
from torch import Tensor

# What to do about NaN or inf in a forward pass.
FORWARDS = "look at the data of that step and at the size of the weights"


class ExaminationError(ValueError):
    """The model, its data or its loss cannot be examined as they are; the message says why and what to do."""


class NotFiniteError(ExaminationError):
    """NaN or inf arose in a recurrence: where first, forwards in what it computes, backwards in its adjoints.

    Args:
        recurrence: Its name.
        step: The step, in the numbering of the sequence; 0 is the initial state.
        steps: T.
        quantity: "input", "pre-activation", "state h", "adjoint of the state", ...
        advice: What to do.
        loss_step: Of an adjoint, the step of the loss that is followed.
    """

    def __init__(
        self, recurrence: str, step: int, steps: int, quantity: str, advice: str, loss_step: int | None = None
    ) -> None:
        self.recurrence, self.step, self.steps, self.quantity = recurrence, step, steps, quantity
        self.advice, self.loss_step = advice, loss_step
        of_loss = "" if loss_step is None else f", of the loss at step {loss_step}"
        super().__init__(
            f"model: NaN or inf in recurrence {recurrence!r}, first at step {step} of {steps}, in its "
            f"{quantity}{of_loss}; {advice}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.recurrence, self.step, self.steps, self.quantity, self.advice, self.loss_step)
        return type(self), parts


class AdjointNotFinite(ExaminationError):
    """NaN or inf arose in an adjoint on its way back.

    Args:
        quantity: What is not finite.
        advice: What to do.
        sources: The numbers of the sources of which it is not.
        step: In reading order, once it is known.
    """

    def __init__(self, quantity: str, advice: str, sources: Int[Tensor, " source"], step: int = 0) -> None:
        super().__init__(f"model: NaN or inf in the {quantity}; {advice}")
        self.quantity, self.advice, self.sources, self.step = quantity, advice, sources, step

    def changed(self, **changes: Any) -> AdjointNotFinite:
        """The same under other names: of another quantity, of other sources, of another step."""
        parts = {"quantity": self.quantity, "advice": self.advice, "sources": self.sources, "step": self.step}
        return AdjointNotFinite(**{**parts, **changes})
