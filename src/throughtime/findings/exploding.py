"""Exploding: the gradient grows on its way back, so that far steps drown the near ones."""

from throughtime.findings.finding import Finding
from throughtime.findings.measured import Measured
from throughtime.findings.references import PASCANU
from throughtime.findings.thresholds import HUNDREDFOLD
from throughtime.findings.wording import because, changed, sentences

VERDICT = "exploding"

REMEDIES = (
    "Clip the norm of the gradient (torch.nn.utils.clip_grad_norm_).",
    "Shrink weight_hh towards an orthogonal matrix.",
)


def finding(measured: Measured) -> Finding | None:
    """The gradient grows a hundredfold from the present step to the far end."""
    if not measured.arrives or not measured.change >= HUNDREDFOLD:
        return None
    evidence = sentences(changed(measured), because(measured), measured.caveat)
    numbers = (measured.change_number,)
    return Finding(VERDICT, measured.name, 2, evidence, REMEDIES, PASCANU, numbers, measured.nats)
