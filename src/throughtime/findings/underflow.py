"""Underflow: in the dtype of the training, gradients that the weights learn from are rounded away."""

import math

import numpy as np
import torch

from throughtime.findings.finding import Finding, Number
from throughtime.findings.measured import Measured
from throughtime.findings.references import MICIKEVICIUS
from throughtime.findings.thresholds import LEFT_OUT

VERDICT = "underflow"

# What torch.amp.GradScaler multiplies the loss with until it overflows: 2^16.
USUAL_SCALE = 16

UNSCALED_REMEDY = "Take the sum over the samples where the loss is their mean, or multiply the loss by a constant."
HALF_REMEDY = "Train in bfloat16, which has the range of float32: what is small there is imprecise, but not zero."
FLOAT32_REMEDY = "Keep the recurrent layers in float32 (torch.autocast(..., enabled=False) around them)."


def finding(measured: Measured) -> Finding | None:
    """More than 1 % of the gradient comes from lags at which it is below the smallest number of the dtype."""
    if not measured.arrives or "truncation_error" not in measured.measures:
        return None
    limits = torch.finfo(measured.trained_in)
    smallest = math.log(limits.tiny) + math.log(limits.eps)
    elements = measured.elements
    lost = _first_below(elements, smallest)
    error = measured.left_out(lost)
    if lost == len(elements) or not error > LEFT_OUT:
        return None
    name = str(measured.trained_in).removeprefix("torch.")
    where = "at every lag" if lost == 0 else f"from lag {lost} on"
    evidence = (
        f"In {name}, what is below {math.exp(smallest):.2g} is rounded to that or to 0. The elements of the gradient "
        f"are smaller than that {where} (root mean square), and what is left without these lags is {error:.0%} of the "
        "whole gradient away from it. This is of the loss as it was given, summed over the samples."
    )
    low, high = (float(_first_below(ends, smallest)) for ends in measured.element_interval)
    numbers = (
        Number("first lag of lag_profile that is lost", float(lost), "steps", low, high),
        Number("truncation_error", error, threshold=LEFT_OUT),
        Number("lag_profile of one element at lag 0", float(elements[0]), "nats", threshold=smallest),
    )
    remedies = _remedies(measured, limits)
    return Finding(VERDICT, measured.name, 2 if lost else 3, evidence, remedies, MICIKEVICIUS, numbers)


def _first_below(elements: np.ndarray, smallest: float) -> int:
    """The first lag from which on all are below; their number where the last is not."""
    above = np.flatnonzero(elements >= smallest)
    return int(above[-1]) + 1 if above.size else 0


def _remedies(measured: Measured, limits: torch.finfo) -> tuple[str, ...]:
    reach, elements = measured.reach, measured.elements
    there = elements[min(reach, len(elements)) - 1]
    needed = math.ceil((math.log(limits.tiny) - there) / math.log(2)) if np.isfinite(there) else math.inf
    room = math.floor((math.log(limits.max) - elements.max()) / math.log(2))
    half = (HALF_REMEDY,) if limits.dtype == "float16" else ()
    if needed > room:
        return (*half, FLOAT32_REMEDY)
    scale = f"Multiply the loss by 2^{needed}, and divide the gradient by it (torch.amp.GradScaler, which starts at "
    scale += f"2^{USUAL_SCALE}): lag {reach - 1}, up to which the gradient reaches, is then within the normal numbers."
    return (scale, *half, FLOAT32_REMEDY) if half else (scale, UNSCALED_REMEDY)
