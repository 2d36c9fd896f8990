"""The check that travels with every examination: all weight terms summed, against `.grad`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from throughtime.capture import ExaminationError, Recurrence
from throughtime.capture.own_run import OwnRun
from throughtime.cells import Named
from throughtime.measures.weight_terms import Terms

# How far the summed weight terms may be from .grad, relative to the size of what was summed.
GRADIENT_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}

# How many times the rounding of a term may stand in a sum of them all.
ROUNDINGS = 16


@dataclass(frozen=True)
class Summed:
    """What is compared of one recurrence.

    Args:
        recurrence: The recurrence.
        terms: Its weight terms, by weight name.
        rounding: How far autograd's gradient may be off because it computes slopes from activations.
        outside: By weight name, what of its gradient comes from where the rest of the model works with it.
    """

    recurrence: Recurrence
    terms: dict[str, Terms]
    rounding: float
    outside: Mapping[str, Tensor]


def relative_errors(own: OwnRun, summed: Sequence[Summed]) -> list[dict[str, float] | ExaminationError]:
    """For every recurrence and weight, the norm of the difference relative to that of `.grad`.

    NaN where autograd's own gradient is not finite, so that nothing can be compared. In place of all of a recurrence's
    errors, what is wrong where its terms are further from a gradient than rounding explains.

    Args:
        own: The user's own run.
        summed: All recurrences.
    """
    found: list[dict[str, float] | ExaminationError] = []
    gradients = own.gradients([one.recurrence for one in summed])
    for one, gradient in zip(summed, gradients, strict=True):
        try:
            found.append({name: _error(summed, one.recurrence, name, gradient[name]) for name in one.terms})
        except ExaminationError as wrong:
            found.append(wrong)
    return found


def not_followed(own: OwnRun, summed: Sequence[Summed]) -> list[Named]:
    """For every recurrence and weight, what of `.grad` its terms do not add up to, float64: further lags.

    NaN where that cannot be told, because the weight is shared with another recurrence.
    """
    found = []
    for one, gradients in zip(summed, own.gradients([one.recurrence for one in summed]), strict=True):
        rest = {name: gradients[name] - one.outside.get(name, 0.0) - term.total() for name, term in one.terms.items()}
        shared = any(len(_sharing(summed, one.recurrence.parameters[name])) > 1 for name in rest)
        found.append({name: part * math.nan if shared else part for name, part in rest.items()})
    return found


def parts_not_followed(one: Summed, rest: Named) -> dict[str, float]:
    """By weight, the norm of what was not followed, relative to that of the whole gradient."""
    sizes = {name: _norm(part + one.terms[name].total()) for name, part in rest.items()}
    return {name: _norm(part) / sizes[name] if sizes[name] else _norm(part) for name, part in rest.items()}


def not_finite(one: Summed, errors: Mapping[str, float]) -> list[str]:
    """The weights whose own gradient was not finite."""
    return [f"{name} of {one.recurrence.name!r}" for name, error in errors.items() if math.isnan(error)]


def distance(gradients: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> float:
    """How far gradients are from others of the same weights, relative to these, over all weights together."""
    apart = math.hypot(*(_norm(gradients[name] - gradient) for name, gradient in whole.items()))
    return apart / size if (size := math.hypot(*(_norm(gradient) for gradient in whole.values()))) else apart


def _error(summed: Sequence[Summed], recurrence: Recurrence, name: str, gradient: Tensor) -> float:
    if not gradient.isfinite().all():
        return math.nan
    # A weight that several calls or several recurrences share has one gradient for all of them.
    sharing = _sharing(summed, recurrence.parameters[name])
    total = torch.stack([terms.total() for _, terms in sharing]).sum(0)
    # What the rest of the model does with it is the same for all of them.
    total = total + next(one for one in summed if one.recurrence is recurrence).outside.get(name, 0.0)
    difference, size = _norm(total - gradient), _norm(gradient)
    sizes = size + sum(_norm(terms.norms()) for _, terms in sharing)
    # What cancels leaves the rounding of the terms, and a gradient that is zero for a reason, as behind a softmax, that
    # of the other weights.
    terms = sum(term.summed_norms for one, _ in sharing for term in one.terms.values())
    rounding = sum(one.rounding for one, _ in sharing) + ROUNDINGS * torch.finfo(gradient.dtype).eps * terms
    if not difference <= GRADIENT_TOLERANCE[gradient.dtype] * sizes + rounding:
        raise ExaminationError(
            f"model: the weight terms of {name} in recurrence {recurrence.name!r} do not add up to its gradient (norm "
            f"of the difference {difference:.3g}, of the gradient {size:.3g}); is this weight used elsewhere, by a "
            "regulariser or by a module that shares it (examine without, or with a copy there), does a part of the "
            "sequence run under no_grad, or does a hook change gradients on their way?"
        )
    return difference / size if size else difference


def _sharing(summed: Sequence[Summed], parameter: Tensor) -> list[tuple[Summed, Terms]]:
    """All terms of a parameter, by whatever name."""
    return [
        (one, one.terms[its_name])
        for one in summed
        for its_name, its_parameter in one.recurrence.parameters.items()
        if its_parameter is parameter
    ]


def _norm(tensor: Tensor) -> float:
    """Also where the squares of the elements leave the range of a float."""
    largest = float(tensor.abs().max())
    return largest * float((tensor.double() / largest).norm()) if 0 < largest < math.inf else largest
