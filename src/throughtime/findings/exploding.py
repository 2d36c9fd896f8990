"""Exploding: the gradient grows on its way back, in all samples or in some, so that far steps drown the near ones."""

import numpy as np

from throughtime.findings.finding import Finding, Number
from throughtime.findings.measured import Measured
from throughtime.findings.rates import compared, rates
from throughtime.findings.references import PASCANU
from throughtime.findings.thresholds import HUNDREDFOLD
from throughtime.findings.wording import because, changed, numbered, sentences, signed

VERDICT = "exploding"

CLIP = "Clip the norm of the gradient (torch.nn.utils.clip_grad_norm_)."
CLIP_EVERY = (
    "Clip the norm of the gradient of every sample before they are averaged; clipping their sum lets one of them take "
    "the whole step."
)
LOOK = "Look at these samples: an outlier, a broken recording or silence drives the network where the others do not."
SATURATED = ": what keeps the gradients of the others small is their saturation."
# By what the state is multiplied by.
SHRINK = {
    "a matrix": "Shrink weight_hh towards an orthogonal matrix",
    "a vector": "Keep the recurrent weight of every unit below 1",
    "made": "Start what weight_hh is made of where it does not stretch",
    "nothing": "Start the bias of what is kept lower, so that less of the state is",
}


def finding(measured: Measured) -> Finding | None:
    """The gradient grows a hundredfold from the present step to the far end, in the batch or in some samples alone."""
    if not measured.arrives:
        return None
    alone = _alone(measured)
    if not (measured.change >= HUNDREDFOLD or alone):
        return None
    evidence = sentences(
        changed(measured), _in_samples(measured, alone), because(measured), compared(measured), measured.caveat
    )
    numbers = (measured.change_number, *(_number(measured, sample) for sample in alone), *rates(measured))
    shrink = SHRINK.get(measured.multiplied_by, "Shrink the recurrent weights towards an orthogonal matrix")
    remedies: tuple[str, ...] = (LOOK, CLIP_EVERY, shrink + SATURATED) if alone else (CLIP, f"{shrink}.")
    if measured.is_input:
        remedies = remedies[:-1]
    return Finding(VERDICT, measured.name, 2, evidence, remedies, PASCANU, numbers, measured.nats, measured.cause_steps)


def _alone(measured: Measured) -> list[int]:
    """The samples in which it grows a hundredfold, and a hundredfold more than in the median sample; the worst first.

    Fewer than half of a batch can be such, so that there is a median to compare them with.
    """
    changes = measured.sample_changes
    if not np.isfinite(changes).any():
        return []
    with np.errstate(invalid="ignore"):  # of two that are exactly zero at the far end, neither grows
        found = np.flatnonzero((changes >= HUNDREDFOLD) & (changes - np.nanmedian(changes) >= HUNDREDFOLD))
    return sorted(found.tolist(), key=lambda sample: -changes[sample])


def _in_samples(measured: Measured, samples: list[int]) -> str:
    if not samples:
        return ""
    changes = measured.sample_changes
    middle = signed(float(np.nanmedian(changes)), 3)
    those = f"sample {samples[0]}" if len(samples) == 1 else f"samples {numbered(samples)}"
    return (
        f"It grows in {those} of {changes.size} (counted from 0), by {changes[samples[0]]:.3g} nats; in the median "
        f"sample it changes by {middle}."
    )


def _number(measured: Measured, sample: int) -> Number:
    change = float(measured.sample_changes[sample])
    return Number(f"change of sample_profile in sample {sample}", change, "nats", threshold=HUNDREDFOLD)
