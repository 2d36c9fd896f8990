"""Quantities and the labels of their axes, on their way into a Dataset."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from torch import Tensor


@dataclass
class Labelled:
    """What becomes one Dataset, all of it at once: finished ones xarray compares and aligns, label by label.

    Args:
        labels: By axis.
        quantities: By name.
        attributes: Of the whole.
    """

    labels: dict[str, np.ndarray] = field(default_factory=dict)
    quantities: dict[str, xr.Variable] = field(default_factory=dict)
    attributes: dict[str, object] = field(default_factory=dict)

    def add(
        self,
        name: str,
        values: Tensor | np.ndarray | float,
        axes: Mapping[str, Any],
        units: str = "",
        **attributes: str,
    ) -> None:
        """Add a quantity.

        Args:
            name: Its name.
            values: Its values.
            axes: By axis, the labels; the same for every quantity that has it; None for an axis without.
            units: Its unit; "" for a number without one.
            attributes: What else is to be known of it.
        """
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        self.labels |= {axis: np.asarray(labels) for axis, labels in axes.items() if labels is not None}
        self.quantities[name] = xr.Variable(tuple(axes), array, ({"units": units} if units else {}) | attributes)

    def dataset(self) -> xr.Dataset:
        """The Dataset."""
        return xr.Dataset(self.quantities, self.labels, self.attributes)
