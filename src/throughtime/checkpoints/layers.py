"""What a checkpoint is found to hold: recurrent layers and embeddings, without the code around them."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from throughtime import cells
from throughtime.cells import Cell, Named

_CELLS: dict[str, Cell] = {"RNN": cells.RNN(), "GRU": cells.GRU(), "LSTM": cells.LSTM()}


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
    def directions(self) -> list[Named]:
        """The weights of one or both directions, forward first."""
        return [weights for weights in (self.forward, self.reverse) if weights is not None]

    @property
    def input_size(self) -> int:
        """The features that it reads."""
        return self._one["weight_ih"].shape[1]

    @property
    def hidden_size(self) -> int:
        """Units of one direction."""
        return self._one["weight_ih"].shape[0] // len(_CELLS[self.kind].gates)

    @property
    def width(self) -> int:
        """Features of the output of one direction: its units, or what they are projected to."""
        return self._one["weight_hh"].shape[1]

    def cell(self, nonlinearity: str) -> Cell:
        """Its equations.

        Args:
            nonlinearity: Of an RNN, where the file does not say.
        """
        return cells.RNN(self.nonlinearity or nonlinearity) if self.kind == "RNN" else _CELLS[self.kind]

    @property
    def _one(self) -> Named:
        return self.directions[0]


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

    @property
    def weights(self) -> list[Tensor]:
        """All weights of all layers."""
        return [weight for layer in self.layers for named in layer.directions for weight in named.values()]
