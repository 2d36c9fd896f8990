"""The one colour scale of a report: nats to colour, shared by every map and by the text."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from throughtime.report.readings import Reading

# ln of the smallest normal and of the largest float32. Outside, float32 training sees zero or infinity.
FLOAT32_SMALLEST = math.log(float(np.finfo(np.float32).tiny))
FLOAT32_LARGEST = math.log(float(np.finfo(np.float32).max))

# Viridis (van der Walt and Smith 2015): perceptually uniform, its lightness rises evenly, so it survives greyscale.
COLOURS = (
    *("#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"),
)


@dataclass(frozen=True)
class Scale:
    """The range of nats that the colours span, and whether there are values below or above it.

    Args:
        low: Nats of the darkest colour.
        high: Nats of the lightest colour.
        below: There are values under `low`.
        above: There are values over `high`.
    """

    low: float
    high: float
    below: bool = False
    above: bool = False

    @property
    def colorscale(self) -> list[list[float | str]]:
        """The colours as Plotly takes them."""
        return [[position / (len(COLOURS) - 1), colour] for position, colour in enumerate(COLOURS)]

    @property
    def coloraxis(self) -> dict[str, Any]:
        """The axis of colours as Plotly takes it, without a bar beside the figure."""
        ends = {"cmin": self.low, "cmax": self.high}
        return {"colorscale": self.colorscale, **ends, "showscale": False, "colorbar": {"title": "nats"}}

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Positions from 0 to 1 with their labels, round numbers of nats, some four to seven of them."""
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / 4))
        step = max(step for step in (power, 2 * power, 5 * power) if span / step >= 3.5)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [((k * step - self.low) / span, f"{k * step:.6g}".replace("-", "−")) for k in range(first, last + 1)]


def shared_scale(maps: Iterable[np.ndarray]) -> Scale:
    """A scale for all the maps, in nats; it ends where float32 ends."""
    finite = [values[np.isfinite(values)] for values in maps]
    finite = [values for values in finite if values.size]
    if not finite:
        return Scale(-1.0, 0.0)
    lowest, highest = min(float(v.min()) for v in finite), max(float(v.max()) for v in finite)
    low = max(lowest, FLOAT32_SMALLEST) if highest > FLOAT32_SMALLEST else lowest
    high = min(highest, FLOAT32_LARGEST) if lowest < FLOAT32_LARGEST else highest
    if high - low < 1e-3:  # one colour for one value, and ticks that differ
        low = high - 1.0
    return Scale(low, high, below=lowest < low, above=highest > high)


def scale_of(readings: Iterable[Reading]) -> Scale:
    """The scale of every map and of every text that belongs to some readings."""
    return shared_scale(
        reading.measures[name].values for reading in readings for name in ("gradient_map", "sample_map")
    )
