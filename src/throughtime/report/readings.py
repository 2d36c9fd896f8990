"""What a verdict is made of: the numbers of one recurrence, selected from an examination, and the words for them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import xarray as xr

from throughtime.notation import INPUTS, LAG, LARGEST, LOSS_STEP, NORM, STATE, WINDOW, written_out

# The part of the gradient, in norm, that the two reaches printed everywhere keep.
MOST, NEARLY_ALL = 0.9, 0.99
# The smallest part of a gradient that is shown, and counts as learned from.
SEEN = 0.001


@runtime_checkable
class Examined(Protocol):
    """What the report reads of an examination."""

    findings: list[Any]
    tokens: tuple[str, ...] | None
    notes: tuple[str, ...]

    @property
    def recurrences(self) -> list[str]:
        """The names of the recurrences."""

    def __getitem__(self, recurrence: str) -> xr.Dataset: ...

    def relative_errors(self, recurrence: str) -> dict[str, float]:
        """By weight, all weight terms summed, against `.grad`."""

    def weight_terms(self, recurrence: str, weight: str) -> xr.Dataset:
        """The split of dL/dW over loss steps and state steps."""

    def causes(self, recurrence: str) -> xr.Dataset:
        """What changed the norm of the adjoint."""

    def reach(self, fraction: float = 0.99) -> dict[str, int]:
        """By recurrence, the BPTT window that suffices."""


@dataclass(frozen=True)
class Reading:
    """The numbers of one recurrence of one network.

    Args:
        network: The name of the network; "" for the only one.
        recurrence: The name of the recurrence in it.
        place: Its place among all recurrences that are shown, from 0: the same colour in every picture.
        label: What tells this recurrence from all others in a picture.
        reaches: In steps, by the part of the gradient that is kept.
        findings: The verdicts on it, the most severe first.
        measures: Its Dataset.
        causes: Its causes.
        relative_errors: By weight, all weight terms summed, against `.grad`.

    Without a loss, as from a checkpoint without code, there are no reaches and no relative errors.
    """

    network: str
    recurrence: str
    place: int
    label: str
    reaches: Mapping[float, int]
    findings: tuple[Any, ...]
    measures: xr.Dataset
    causes: xr.Dataset
    relative_errors: Mapping[str, float]

    @property
    def steps(self) -> int:
        """T, the length of the sequence."""
        return int(self.measures.attrs["steps"])

    @property
    def carried(self) -> str:
        """The name of the state that is carried from step to step."""
        return str(self.measures.attrs["carried"])

    @property
    def backwards_in_time(self) -> bool:
        """Whether the recurrence reads the sequence forward, so that what it learns from lies in the past."""
        return self.measures.attrs.get("direction", "forward") == "forward"

    @property
    def described(self) -> str:
        """The cell and its size."""
        attrs = self.measures.attrs
        direction = "" if self.backwards_in_time else ", reverse"
        if not self.is_recurrence:
            return f"the model's input, {attrs['hidden_size']} numbers a step"
        units = "1 unit" if attrs["hidden_size"] == 1 else f"{attrs['hidden_size']} units"
        return f"{attrs['cell']}, {units}{direction}"

    @property
    def verdict(self) -> str:
        """The most severe verdict."""
        return self.findings[0].verdict if self.findings else "not judged"

    @property
    def severity(self) -> int:
        """Its severity, 0 to 3."""
        return int(self.findings[0].severity) if self.findings else 0

    @property
    def has_loss(self) -> bool:
        """Whether a loss was followed, and not random directions of the hidden state."""
        return "gradient_share" in self.measures

    @property
    def has_gradient(self) -> bool:
        """Whether any gradient arrived, and any of it in the weights, so that a reach means something."""
        return self.has_loss and self.reaches[NEARLY_ALL] > 0

    @property
    def has_weights(self) -> bool:
        """Whether a loss was followed into weights, so that there is a gradient to have a share of."""
        return self.has_loss and bool(self.relative_errors)

    def window(self, fraction: float) -> int:
        """The reach in steps, no more than there are."""
        return min(self.reaches[fraction], self.steps)

    @property
    def last_lag(self) -> int:
        """The largest lag in the reach, of those that there are: a window of K steps keeps the lags 0 to K - 1."""
        return min(self.window(NEARLY_ALL) - 1, int(self.measures[LAG].values[-1]))

    @property
    def counted_from(self) -> np.ndarray:
        """For every loss the step from which its lags are counted: its own, but for losses that read others."""
        return np.asarray(self.measures.get("counted_from", self.measures[LOSS_STEP]).values)

    @property
    def both_ways(self) -> bool:
        """Whether its weights learn from steps on either side of a loss, as below a layer in the other direction."""
        if not self.has_weights:
            return False
        share = self.measures["gradient_share"]
        return bool((np.abs(share.values[share[LAG].values < 0]) >= SEEN).any())

    @property
    def stops_short(self) -> bool:
        """Whether it learns from fewer steps than there are."""
        return not self.has_gradient or self.window(NEARLY_ALL) < self.steps

    def is_within(self, fraction: float) -> bool:
        """Whether the gradient truncated to the reach is as close as asked; if not, the reach is at least that."""
        error = self.measures["truncation_error"].sel({WINDOW: self.reaches[fraction]})
        return bool(error <= 1 - fraction)

    def told_window(self, fraction: float) -> str:
        """The reach in steps; "at least" where no window that was followed is close enough."""
        if not self.has_gradient:
            return "0"
        return f"{'' if self.is_within(fraction) else 'at least '}{self.window(fraction)}"

    @property
    def is_recurrence(self) -> bool:
        """Whether its steps lead to one another, and not the model's input."""
        return bool(self.measures.attrs["cell"] != INPUTS)

    @property
    def detached(self) -> list[int]:
        """The steps after which the model itself cuts the graph."""
        return [int(step) for step in np.atleast_1d(self.measures.attrs.get("detached", []))]

    @property
    def rate(self) -> tuple[float, float, float]:
        """The decay rate of the carried state, in nats per step, and the ends of its interval."""
        state = {STATE: self.carried}
        low, high = self.measures["decay_rate_interval"].sel(state).values
        return float(self.measures["decay_rate"].sel(state)), float(low), float(high)

    @property
    def relative_error(self) -> float:
        """The largest relative error of the weight terms, summed, against `.grad`; NaN where none was taken."""
        known = [error for error in self.relative_errors.values() if not math.isnan(error)]
        return max(known, default=math.nan)

    @property
    def learns(self) -> str:
        """How far back it learns, as a predicate: "learns from the last 41 of 100 steps"."""
        if not self.has_loss:
            return "was examined without a loss"
        if not self.has_gradient:
            return "learns nothing: its weights get no gradient" if self.has_weights else "gets no gradient at all"
        verb = "learns from" if self.is_recurrence else "depends on"
        window, side = self.window(NEARLY_ALL), "last" if self.backwards_in_time else "next"
        least = "" if self.is_within(NEARLY_ALL) else "at least "
        if window >= self.steps:
            return f"{verb} all {self.steps} steps" if self.steps > 1 else f"{verb} the only step"
        if window <= 1:
            return f"{verb} {least}one step of {self.steps}"
        if self.both_ways:
            return f"{verb} {least}the nearest {window} of {self.steps} steps, before it and after"
        return f"{verb} {least}the {side} {window} of {self.steps} steps"

    @property
    def decays(self) -> str:
        """What becomes of the gradient on the way, as a sentence with its subject; "" where it is not known."""
        rate, low, high = self.rate
        if math.isnan(rate):
            return ""
        if math.isinf(rate):
            return "Its gradient is exactly zero one step away." if rate < 0 else "Its gradient overflows at once."
        interval = "" if math.isnan(low) or math.isnan(high) else f"; {number(low)} to {number(high)}"
        subject = "Its gradient" if self.has_loss else "A gradient that passes back through it"
        return f"{subject} {self.changes} ({number(rate)} nats per step{interval})."

    @property
    def changes(self) -> str:
        """What the decay rate does to a gradient, as a predicate: "halves every 5.3 steps"."""
        rate = self.rate[0]
        if not math.isfinite(rate):
            return "has no decay rate" if math.isnan(rate) else "ends at once" if rate < 0 else "overflows at once"
        return "keeps its size" if rate == 0 else f"{'halves' if rate < 0 else 'doubles'} every {_period(rate)}"

    @property
    def time_constants(self) -> np.ndarray:
        """Of all units with a finite one above 0, in steps, in increasing order; empty where there is no keep gate."""
        if "time_constant" not in self.measures:
            return np.empty(0)
        values = self.measures["time_constant"].values
        return np.sort(values[np.isfinite(values) & (values > 0)])

    @property
    def holds(self) -> str:
        """How long its units hold what they carry, in words; "" where there is no keep gate."""
        found = self.time_constants
        if not found.size:
            return ""
        low, middle, high = (number(value) for value in np.quantile(found, (0.1, 0.5, 0.9)))
        return f"median {middle} steps; {low} to {high} for the middle 80 % of the units"

    @property
    def steps_stretch(self) -> str:
        """What a single step does to a gradient at most, in words; "" where it was not measured."""
        if "step_jacobian" not in self.measures:
            return ""
        largest = np.exp(self.measures["step_jacobian"].sel({NORM: LARGEST}).values)
        ends = f"{number(largest.min())} to {number(largest.max())}"
        return f"largest singular value {ends} over steps and samples, median {number(float(np.median(largest)))}"

    @property
    def overflows(self) -> str:
        """Where training in the model's own dtype would first meet inf on the way back; "" where it would not."""
        found = str(self.measures.attrs.get("first_not_finite", ""))
        return f"{self.measures.attrs['dtype']} has no number for the {found}" if found else ""

    @property
    def followed_to_the_end(self) -> bool:
        """Whether every loss was followed to the initial state, and not only to some largest lag."""
        return "max_lag" not in self.measures.attrs

    @property
    def checked(self) -> str:
        """The self-check, in words."""
        if math.isnan(self.relative_error):
            return "self-check: not taken"
        error = f"{self.relative_error:.0e}" if self.relative_error else "0"
        if not self.followed_to_the_end:
            rest = f"leave {error} of .grad to those beyond, relative"
            return f"self-check: the lags that were followed {rest}"
        return f"self-check: the weight terms add up to .grad within {error}, relative"


def readings(examinations: Mapping[str, Examined]) -> list[Reading]:
    """One reading per network and recurrence, in the order given; recurrences of one name stand side by side."""
    names = list(dict.fromkeys(name for exam in examinations.values() for name in exam.recurrences))
    found = [
        (network, exam, recurrence)
        for recurrence in names
        for network, exam in examinations.items()
        if recurrence in exam.recurrences
    ]
    return [_reading(place, *one) for place, one in enumerate(found)]


def number(value: float, digits: int = 2) -> str:
    """A number to some significant digits, with a typographic minus."""
    text = written_out(f"{abs(value):#.{digits}g}".removesuffix("."))
    return f"−{text}" if value < 0 else text


def _reading(place: int, network: str, exam: Examined, recurrence: str) -> Reading:
    alone = network and len(exam.recurrences) == 1
    return Reading(
        network=network,
        recurrence=recurrence,
        place=place,
        label=network if alone else " · ".join(filter(None, (network, recurrence))),
        reaches={
            fraction: reach[recurrence]
            for fraction in (MOST, NEARLY_ALL)
            if recurrence in (reach := exam.reach(fraction))
        },
        findings=tuple(
            sorted(
                (finding for finding in exam.findings if finding.recurrence == recurrence),
                key=lambda finding: -finding.severity,
            )
        ),
        measures=exam[recurrence],
        causes=exam.causes(recurrence),
        relative_errors=exam.relative_errors(recurrence),
    )


def in_steps(count: object) -> str:
    """Of a number, or what is said of one: "1 step", "at least 4 steps"."""
    return f"{count} step" if str(count) == "1" else f"{count} steps"


def _period(rate: float) -> str:
    steps = math.log(2) / abs(rate)
    return "step" if f"{steps:.2g}" == "1" else f"{number(steps)} steps" if steps < 100 else f"{steps:.0f} steps"
