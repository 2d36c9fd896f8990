"""What a checkpoint is found to hold: recurrent layers and embeddings, without the code around them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from throughtime.cells import Named

MODULES: dict[str, Any] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


@dataclass(frozen=True)
class Layer:
    """One recurrent layer, in one or both directions.

    Args:
        name: Its name in the results, "encoder.l0".
        kind: "RNN", "GRU" or "LSTM".
        forward: Its weights in torch's layout, by torch's name without layer and direction; None where it reads in
            reverse only.
        reverse: Those of the direction that reads from the end; None where there is none.
        reads: The name of the layer whose output it reads; None where that is not known.
        nonlinearity: Of an RNN, "tanh" or "relu"; None where the file does not say.
    """

    name: str
    kind: str
    forward: Named | None
    reverse: Named | None = None
    reads: str | None = None
    nonlinearity: str | None = None

    @property
    def directions(self) -> dict[str, Named]:
        """The weights by name of the recurrence."""
        both = {self.name: self.forward, f"{self.name}.reverse": self.reverse}
        return {name: weights for name, weights in both.items() if weights is not None}

    @property
    def input_size(self) -> int:
        """The features that it reads."""
        return self._one["weight_ih"].shape[1]

    @property
    def hidden_size(self) -> int:
        """Units of one direction."""
        return self._one["weight_ih"].shape[0] // {"RNN": 1, "GRU": 3, "LSTM": 4}[self.kind]

    @property
    def width(self) -> int:
        """Features of the output of one direction: its units, or what they are projected to."""
        return self._one["weight_hh"].shape[1]

    @property
    def projected(self) -> bool:
        """Whether its hidden state is a projection (proj_size)."""
        return "weight_hr" in self._one

    def rebuilt(self, nonlinearity: str, dtype: torch.dtype) -> nn.RNNBase:
        """A torch module with these weights, one layer, one or both directions.

        A layer that reads in reverse only gets the same weights forward, too, as torch has no such layer.

        Args:
            nonlinearity: Of an RNN, where the file does not say.
            dtype: Of its weights.
        """
        options: dict[str, Any] = {"nonlinearity": self.nonlinearity or nonlinearity} if self.kind == "RNN" else {}
        if self.projected:
            options["proj_size"] = self.width
        module = MODULES[self.kind](
            self.input_size,
            self.hidden_size,
            bias="bias_ih" in self._one,
            bidirectional=self.reverse is not None,
            dtype=dtype,
            **options,
        )
        both = {"_l0": self._one} | ({} if self.reverse is None else {"_l0_reverse": self.reverse})
        module.load_state_dict(
            {name + suffix: value for suffix, weights in both.items() for name, value in weights.items()}
        )
        return module

    @property
    def _one(self) -> Named:
        weights = self.reverse if self.forward is None else self.forward
        assert weights is not None, "a layer has at least one direction"
        return weights


@dataclass(frozen=True)
class Checkpoint:
    """What was found in a file.

    Args:
        layers: The recurrent layers; a layer that reads another comes after it.
        embeddings: By name, tables (rows, width) that may stand before them.
        notes: What a reader must know about how they were found.
    """

    layers: tuple[Layer, ...]
    embeddings: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
