"""Every picture of the report, in the order of the page, and which of them a verdict and a number are seen in.

The names are those of the anchors on the page and of the methods of `exam.plot`.
"""

from throughtime.report import figures
from throughtime.report.picture import Picture
from throughtime.report.readings import Reading

PICTURES: dict[str, Picture] = {
    "overview": figures.OVERVIEW,
    "gradient_map": figures.GRADIENT_MAP,
    "lag_profile": figures.LAG_PROFILE,
    "gradient_share": figures.GRADIENT_SHARE,
    "truncation_error": figures.TRUNCATION_ERROR,
    "mean_causes": figures.MEAN_CAUSES,
    "causes": figures.CAUSES_BY_LAG,
    "forward_memory": figures.FORWARD_MEMORY,
    "direct_derivative": figures.DIRECT_DERIVATIVE,
    "gates": figures.GATES,
    "time_constants": figures.TIME_CONSTANTS,
    "step_jacobian": figures.STEP_JACOBIAN,
    "singular_values": figures.SINGULAR_VALUES,
    "lyapunov": figures.LYAPUNOV,
}

# The picture of every verdict, the first that there is of the recurrence.
_OF_VERDICT: dict[str, tuple[str, ...]] = {
    "readout-bound": ("direct_derivative", "gradient_map"),
    "truncated": ("gradient_map",),
    "saturated": ("gates",),
    "dead-relu": ("gates",),
    "closed-gate": ("gates", "time_constants"),
    "stuck-open": ("gates", "time_constants"),
}
_OF_ANY = ("lag_profile",)


def picture_of(verdict: str, reading: Reading) -> str:
    """The name of the picture in which a verdict on a recurrence is seen; the lag profile where none is named."""
    return next(name for name in (*_OF_VERDICT.get(verdict, ()), *_OF_ANY) if PICTURES[name].shows(reading))


def shown_in(quantity: str, reading: Reading) -> str | None:
    """The name of the picture that shows a quantity, "lag_profile" or "change of lag_profile"; None where none does."""
    words = quantity.split()
    shown = (name for name, picture in PICTURES.items() if set(picture.quantities) & set(words))
    return next((name for name in shown if PICTURES[name].shows(reading)), None)
