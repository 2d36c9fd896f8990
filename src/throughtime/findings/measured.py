"""The labelled measures of one recurrence, as the verdicts read them."""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import xarray as xr

from throughtime.findings.finding import Number
from throughtime.findings.thresholds import HUNDREDFOLD
from throughtime.notation import (
    BOUND,
    BOUNDS,
    CAUSE,
    ENTERING,
    GATE,
    INPUTS,
    LAG,
    ROLE,
    SAMPLE,
    STATE,
    STATE_STEP,
    UNIT,
    WINDOW,
    turned,
)

# Where a checkpoint was examined without its code.
WITHOUT_LOSS = "No loss was followed: this is a random direction of h on its way back, not what the weights learn from."
# Where a scalar loss reads every sample to a step of its own.
APART = (
    "The loss reads samples up to steps {} to {}, each to one of its own, and lags are counted from there: what stands "
    "at far lags is told by the longer samples alone."
)
# The terms of a step whose equations are not known are those of all samples together.
APART_IN_A_LOOP = " The reach and the windows of a loop are counted from the last step of all samples."


@dataclass(frozen=True)
class Measured:
    """One recurrence.

    Args:
        name: Its name.
        measures: Its measures; without a share of the gradient, no loss was followed.
        causes: Its causes.
    """

    name: str
    measures: xr.Dataset
    causes: xr.Dataset

    @property
    def has_loss(self) -> bool:
        """Whether a loss was followed, and not random directions of the hidden state."""
        return "gradient_share" in self.measures

    @property
    def caveat(self) -> str:
        """What must be said of everything where no loss was followed, or samples end apart; "" of others."""
        if not self.has_loss:
            return WITHOUT_LOSS
        ends = np.atleast_1d(self.measures.attrs.get("read_to", []))
        if not len(ends):
            return ""
        return APART.format(*ends) + ("" if self.measures.attrs["equations"] else APART_IN_A_LOOP)

    @property
    def steps(self) -> int:
        """T."""
        return int(self.measures.attrs["steps"])

    @property
    def carried(self) -> str:
        """The name of the state that is carried from step to step."""
        return str(self.measures.attrs["carried"])

    @property
    def kept_by(self) -> str:
        """What of the old state is kept: "nothing", "a constant", "a gate" or "gates"; "" where it is not known."""
        return str(self.measures.attrs.get("kept_by", ""))

    @property
    def multiplied_by(self) -> str:
        """What the state is multiplied by: "a matrix", "a vector", "made" or "nothing"; "" where it is not known."""
        return str(self.measures.attrs.get("multiplied_by", ""))

    @property
    def is_input(self) -> bool:
        """Whether it is no recurrence but the model's input that was followed."""
        return bool(self.measures.attrs["cell"] == INPUTS)

    @cached_property
    def profile(self) -> xr.DataArray:
        """The lag profile of the carried state to the largest lag that a loss can have, in nats.

        From lag 0, or from the first at which anything arrives: a loss may read steps before its own only.
        """
        profile = self.measures["lag_profile"].sel({STATE: self.carried, LAG: slice(0, max(1, self._read - 1))})
        arrives = np.flatnonzero(profile.values > -np.inf)
        return profile[min(arrives[0], max(0, len(profile) - 2)) :] if arrives.size else profile

    @property
    def lags(self) -> np.ndarray:
        """Its lags."""
        return self.profile[LAG].values

    @cached_property
    def arrives(self) -> bool:
        """Whether any gradient arrives at any state."""
        return bool((self.profile.values > -np.inf).any())

    @cached_property
    def change(self) -> float:
        """From the smallest lag to the largest, in nats."""
        return float(self.profile.values[-1]) - float(self.profile.values[0])

    @property
    def change_number(self) -> Number:
        """The same with the ends of its interval over the samples."""
        low, high = self._interval
        return Number("change of lag_profile", self.change, "nats", low, high)

    @cached_property
    def nats(self) -> dict[str, float]:
        """By cause, its part of that change: so many nats from saturation, from the weights, through each path."""
        by_lag = self.causes["nats_by_lag"].sel({LAG: slice(0, int(self.lags[-1]) - 1)}).transpose(CAUSE, LAG)
        found = {}
        for cause, nats in zip(by_lag[CAUSE].values, by_lag.values, strict=True):
            known = nats[np.isfinite(nats)]
            if cause != ENTERING and len(known):
                found[str(cause)] = float(known.sum())
        return found

    @property
    def cause_steps(self) -> int:
        """How many steps that change is made of: as far as there is a gradient, where it is zero further back."""
        reached = self.lags[np.isfinite(self.profile.values)]
        return min(self.causes.sizes[LAG], int(reached.max()) if reached.size else 0)

    @cached_property
    def sample_changes(self) -> np.ndarray:
        """The same change in every sample alone, to its own largest lag; NaN where nothing arrives at either end."""
        if "sample_profile" not in self.measures:
            return np.empty(0)
        profiles = self.measures["sample_profile"].sel({LAG: self.lags}).transpose(SAMPLE, LAG).values
        # A sample that ends earlier than others has no value at the far lags.
        last = (~np.isnan(profiles) * np.arange(profiles.shape[1])).argmax(axis=1)
        ends = np.stack([profiles[:, 0], profiles[np.arange(len(profiles)), last]])
        return np.diff(np.where(np.isfinite(ends), ends, np.nan), axis=0)[0]

    @property
    def vanishes(self) -> bool:
        """Whether the gradient falls a hundredfold from the present step to the far end, or is exactly zero there."""
        return self.arrives and self.change <= -HUNDREDFOLD

    @property
    def candidate(self) -> str:
        """The gate whose function makes what may be written; "" where there is none, or it is not known."""
        return str(self.measures["gate_slope"].attrs["candidate"]) if "gate_slope" in self.measures else ""

    def of_candidate(self, quantity: str) -> float:
        """A measure of the gates, of the candidate's; NaN where it was not taken."""
        if quantity not in self.measures or not self.candidate:
            return math.nan
        return float(self.measures[quantity].sel({GATE: self.candidate}))

    def gate_range(self, role: str, bound: str) -> np.ndarray | None:
        """The smallest or largest value of a gate, unit by unit; None where the cell has no such gate."""
        return self._gate_ranges.get((role, bound))

    @cached_property
    def _gate_ranges(self) -> dict[tuple[str, str], np.ndarray]:
        """By role and bound."""
        if "gate_range" not in self.measures:
            return {}
        ranges = self.measures["gate_range"].transpose(ROLE, BOUND, UNIT)
        places = itertools.product(ranges[ROLE].values, ranges[BOUND].values)
        return dict(zip(places, ranges.values.reshape(-1, ranges.sizes[UNIT]), strict=True))

    @property
    def decay_rate(self) -> float:
        """Of the carried state, in nats per step."""
        return float(self.measures["decay_rate"].sel({STATE: self.carried}))

    @property
    def decay_rate_interval(self) -> tuple[float | None, float | None]:
        """The ends of its interval; None where it has none."""
        low, high = self.measures["decay_rate_interval"].sel({STATE: self.carried, BOUND: list(BOUNDS)}).values
        return (None, None) if np.isnan([low, high]).any() else (float(low), float(high))

    @property
    def entered(self) -> float:
        """How many nats join the adjoint on its way, from a layer above, from lag 0 to the largest."""
        if ENTERING not in self.causes[CAUSE].values:
            return 0.0
        by_lag = self.causes["nats_by_lag"].sel({CAUSE: ENTERING, LAG: slice(0, int(self.lags[-1]) - 1)})
        return float(by_lag.where(np.isfinite(by_lag)).sum())

    def of_mean(self, quantity: str) -> float:
        """What was measured of the mean step Jacobian; 0 where nothing was."""
        value = float(self.measures[quantity]) if quantity in self.measures else 0.0
        return value if math.isfinite(value) else 0.0

    @property
    def bend(self) -> float:
        """The slope of the lag profile over the longer half of its lags less that over the rest, in nats per step."""
        middle = len(self.lags) // 2
        parts = [(self.lags[part], self.profile.values[part]) for part in (slice(middle + 1), slice(middle, None))]
        if any(len(lags) < 2 or not np.isfinite(values).all() for lags, values in parts):
            return 0.0
        first, second = ((values[-1] - values[0]) / (lags[-1] - lags[0]) for lags, values in parts)
        return float(second - first)

    @property
    def trained_in(self) -> torch.dtype:
        """The dtype of the training, that of the model where nothing else was said."""
        attributes = self.measures.attrs
        dtype: torch.dtype = getattr(torch, attributes.get("trained_in", attributes["dtype"]))
        return dtype

    @property
    def elements(self) -> np.ndarray:
        """The profile of a single number of the state, in nats: the root mean square over the units, too."""
        return self.profile.values - self._units

    @property
    def element_interval(self) -> tuple[np.ndarray, np.ndarray]:
        """The ends of its interval; itself where it has none."""
        interval = self.measures["lag_profile_interval"].sel({STATE: self.carried, LAG: self.lags}).values
        low, high = (np.where(np.isnan(end), self.profile.values, end) - self._units for end in interval.T)
        return low, high

    @property
    def _units(self) -> float:
        return math.log(int(self.measures.attrs["hidden_size"])) / 2

    def left_out(self, window: int) -> float:
        """The relative error of the gradient without the lags from a window on, or from the next one that is known."""
        error = self.measures["truncation_error"]
        if window == 0:
            return 1.0
        longer = np.flatnonzero(error[WINDOW].values >= window)
        return float(error[longer[0]]) if longer.size else 0.0

    @property
    def reach(self) -> int:
        """The window that leaves out less than 1 %, in steps."""
        return int(self.measures.attrs["recommended_window"])

    @property
    def largest_elasticity(self) -> float:
        """By what part of itself any loss would change at most, were the state gone, in nats; NaN if not known."""
        return self._at_most("elasticity")

    @property
    def largest_state(self) -> float:
        """The largest norm of the state where a loss reads it, in nats; NaN if not known."""
        return self._at_most("state_norm")

    def _at_most(self, quantity: str) -> float:
        if quantity not in self.measures:
            return math.nan
        values = self.measures[quantity].sel({STATE: "h"}).values
        return float(values[~np.isnan(values)].max(initial=-np.inf)) if not np.isnan(values).all() else math.nan

    @property
    def _read(self) -> int:
        """How many steps the last loss that sends anything has read: T, unless the later losses are masked."""
        arrives = np.isfinite(self.measures["gradient_map"].values).any(axis=(0, 1))
        if not arrives.any():
            return self.steps
        labels = self.measures[STATE_STEP].values[arrives]
        return int(turned(labels, self.steps, self.measures.attrs["direction"] == "reverse").max())

    @property
    def _interval(self) -> tuple[float | None, float | None]:
        farthest = {STATE: self.carried, LAG: int(self.lags[-1]), BOUND: list(BOUNDS)}
        low, high = map(float, self.measures["lag_profile_interval"].sel(farthest).values)
        start = float(self.profile.values[0])
        return (None, None) if math.isnan(low) or math.isnan(high) else (low - start, high - start)
