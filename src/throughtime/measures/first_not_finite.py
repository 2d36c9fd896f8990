"""Where training in the model's own dtype would first meet inf on the way back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from throughtime.measures.film import Film


@dataclass(frozen=True)
class FirstNotFinite:
    """Where inf arises first.

    Args:
        quantity: "adjoint of h", "weight term of weight_hh".
        step: Of the state, in the numbering of the sequence.
        loss_step: Of the loss.
    """

    quantity: str
    step: int
    loss_step: int

    def __str__(self) -> str:
        return f"{self.quantity} at step {self.step}, of the loss at step {self.loss_step}"


def first_not_finite(
    film: Film,
    gradient_map: Float[Tensor, "state source state_step"],
    ln_terms: Mapping[str, Float[Tensor, "source step"]],
    dtype: torch.dtype,
) -> FirstNotFinite | None:
    """The first norm on the way back that the dtype cannot hold: of an adjoint, or else of a weight term.

    The sweep keeps logarithms, so that it goes on where a backward pass in this dtype has inf, and NaN a step later.
    A gradient whose every term is finite may still overflow in the sum: that is seen in the gradient itself alone.

    Args:
        film: The axes.
        gradient_map: ln of root mean squares over the batch, so that some sample's norm is at least as large.
        ln_terms: By weight, ln of the norms of the terms, over the steps 1..T.
        dtype: Of the model.
    """
    largest = math.log(torch.finfo(dtype).max)
    labels = film.state_steps
    found = _first(film, gradient_map.unbind(0), labels, largest)
    if found is not None:
        state, step, loss_step = found
        return FirstNotFinite(f"adjoint of {film.states[state]}", step, loss_step)
    names = list(ln_terms)
    if not names:
        return None
    # Terms belong to steps, which are the states but for the initial one.
    labels = film.step_labels
    found = _first(film, list(ln_terms.values()), labels, largest)
    if found is None:
        return None
    weight, step, loss_step = found
    return FirstNotFinite(f"weight term of {names[weight]}", step, loss_step)


def _first(
    film: Film, ln_norms: Sequence[Float[Tensor, "source step"]], labels: Int[Tensor, " step"], largest: float
) -> tuple[int, int, int] | None:
    """Kind, label of the step and of the loss of the first that is beyond the largest number, from the end."""
    # What was not followed is NaN, which is not larger.
    beyond = [film.in_sequence((one > largest).any(dim=0)).nonzero() for one in ln_norms]
    place = max((int(places[-1]) for places in beyond if len(places)), default=None)
    if place is None:
        return None
    at = torch.stack([film.in_sequence(one)[:, place] for one in ln_norms]).nan_to_num(nan=-torch.inf)
    # Of several at one step, the largest.
    kind, source = divmod(int(at.argmax()), film.sources)
    return kind, int(film.in_sequence(labels)[place]), int(film.loss_steps[source])
