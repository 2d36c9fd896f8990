"""Every picture of the report, in the order of the page, and which of them a verdict and a number are seen in.

The names are those of the anchors on the page and of the methods of `exam.plot`.
"""

from typing import Any

from throughtime.report import figures
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading

PICTURES: dict[str, Picture] = {
    "overview": figures.OVERVIEW,
    "gradient_map": figures.GRADIENT_MAP,
    "lag_profile": figures.LAG_PROFILE,
    "sample_profile": figures.SAMPLE_PROFILE,
    "padding": figures.PADDING,
    "gradient_share": figures.GRADIENT_SHARE,
    "truncation_error": figures.TRUNCATION_ERROR,
    "signal_to_noise": figures.SIGNAL_TO_NOISE,
    "mean_causes": figures.MEAN_CAUSES,
    "causes": figures.CAUSES_BY_LAG,
    "forward_memory": figures.FORWARD_MEMORY,
    "direct_derivative": figures.DIRECT_DERIVATIVE,
    "elasticity": figures.ELASTICITY,
    "gates": figures.GATES,
    "gate_range": figures.GATE_RANGE,
    "time_constants": figures.TIME_CONSTANTS,
    "step_jacobian": figures.STEP_JACOBIAN,
    "singular_values": figures.SINGULAR_VALUES,
    "lyapunov": figures.LYAPUNOV,
    "rates": figures.RATES,
}

# The pictures of every verdict, the best first; one that is not here is seen in that of the first number it rests on.
_OF_VERDICT: dict[str, tuple[str, ...]] = {
    "vanishing": ("lag_profile",),
    "healthy": ("lag_profile",),
    "readout-bound": ("elasticity", "gradient_map"),
    "tiny state": ("elasticity",),
    "truncated": ("truncation_error",),
    "saturated": ("gates",),
    "dead ReLU": ("gates",),
    "closed gate": ("gate_range",),
    "gates stuck open": ("gate_range",),
    "padding-dominated": ("padding",),
}
# Where none of these has anything to show.
_OF_ANY = "lag_profile"


def picture_of(finding: Any, reading: Reading) -> str:
    """The name of the picture in which a finding is seen: of its verdict, of its first number, or the lag profile."""
    of_numbers = (shown_in(one.quantity, reading) for one in finding.numbers)
    named = (*_OF_VERDICT.get(finding.verdict, ()), *of_numbers)
    return next((name for name in named if name and PICTURES[name].shows(reading)), _OF_ANY)


def shown_in(quantity: str, reading: Reading) -> str | None:
    """The name of the picture that shows a quantity, "lag_profile" or "change of lag_profile"; None where none does."""
    shown = [
        (len(known), name)
        for name, picture in PICTURES.items()
        for known in picture.quantities
        if known in quantity and picture.shows(reading)
    ]
    # "truncation_error_interval" holds "truncation_error", too: the longer name says more.
    return max(shown, key=lambda found: found[0])[1] if shown else None
