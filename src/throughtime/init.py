"""Named initialisations of recurrent layers, in place: of torch's RNN, GRU and LSTM, their cells, and our own layers.

Which gate keeps and which writes, and with which sign, is read from a cell's equations.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from throughtime.cells import Cell, derive, torchs_cell
from throughtime.cells.gates import Gate, gate_of, kept_by
from throughtime.unroll import Recurrent

Layer = TypeVar("Layer", bound=nn.Module)

_SUFFIX = re.compile(r"_l\d+(_reverse)?$")
# The parameters of which the named initialisations know what they are.
_KNOWN = ("weight_ih", "weight_hh", "weight_hr", "bias_ih", "bias_hh")


@torch.no_grad()
def default_(layer: Layer) -> Layer:
    """Every weight and bias from U(-1/sqrt(H), 1/sqrt(H)), as torch draws them.

    Args:
        layer: The layer.

    Raises:
        TypeError: It is no recurrent layer that is known.
        ValueError: It has weights that are not what enters its equations, but logarithms or angles of it.
    """
    _check_known(layer, "default_")
    bound = 1 / math.sqrt(_hidden_size(layer))
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound)
    return layer


@torch.no_grad()
def orthogonal_(layer: Layer, gain: float = 1.0) -> Layer:
    """W_hh of every gate from the orthogonal matrices, times a gain (Saxe, McClelland, Ganguli 2014, arXiv:1312.6120).

    All singular values of each are the gain; see `torch.nn.init.orthogonal_`. Nothing else is changed.

    Args:
        layer: The layer.
        gain: The factor.

    Raises:
        TypeError: It is no recurrent layer that is known.
        ValueError: It has no matrix that the state is multiplied by, or the gain is not finite.
    """
    _check_finite("gain", gain)
    for block in _recurrent_blocks(layer, "orthogonal_"):
        nn.init.orthogonal_(block, gain)
    return layer


@torch.no_grad()
def identity_(layer: Layer, gain: float = 1.0) -> Layer:
    """W_hh of every gate the identity, times a gain, and all biases 0 (Le, Jaitly, Hinton 2015, arXiv:1504.00941).

    Args:
        layer: The layer.
        gain: The factor; the paper also starts from 0.01 and 0.5.

    Raises:
        TypeError: It is no recurrent layer that is known.
        ValueError: It has no square matrix that the state is multiplied by, or the gain is not finite.
    """
    _check_finite("gain", gain)
    for block in _recurrent_blocks(layer, "identity_"):
        if block.shape[0] != block.shape[1]:
            raise ValueError(
                f"layer: identity_ needs a square matrix, and with proj_size {_named(layer)} has one of "
                f"{tuple(block.shape)} per gate; use orthogonal_"
            )
        nn.init.eye_(block).mul_(gain)
    for _, parameter in _parameters(layer, "bias_ih", "bias_hh"):
        nn.init.zeros_(parameter)
    return layer


@torch.no_grad()
def forget_bias_(layer: Layer, value: float = 1.0) -> Layer:
    """The bias of the gate that keeps, so that it starts open: sigmoid(value) of the state is kept.

    It is put into `bias_ih`, and the part of `bias_hh` is 0: torch adds the two. Gers, Schmidhuber and Cummins (2000)
    and Jozefowicz, Zaremba and Sutskever (2015) recommend 1 for an LSTM. Where a gate keeps with 1 - sigmoid, as in the
    minimal gated unit, it gets -value.

    Args:
        layer: The layer.
        value: Of the bias: the memory is -1 / ln sigmoid(value) steps long, 3.2 for 1.

    Raises:
        TypeError: It is no recurrent layer that is known.
        ValueError: It has no biases, or no single gate that keeps, or the value is not finite.
    """
    _check_finite("value", value)
    keep = _keep_gate(layer, "forget_bias_")
    for bias in _biases_of(layer, keep.gate, "forget_bias_"):
        bias.fill_(keep.sign * value)
    return layer


@torch.no_grad()
def chrono_(layer: Layer, longest: float) -> Layer:
    """Biases for dependencies of up to `longest` steps: b_keep = ln U[1, longest - 1], b_write = -b_keep.

    Tallec and Ollivier 2018 (arXiv:1804.11188), equation 16: unit by unit, the time constant is spread uniformly over
    the range. Where the gate that writes is coupled to the one that keeps, as in a GRU, or sees what it sees, there is
    nothing to be set for it. Biases go into `bias_ih`, and their parts of `bias_hh` are 0: torch adds the two.

    Args:
        layer: The layer.
        longest: The paper's T_max, in steps.

    Raises:
        TypeError: It is no recurrent layer that is known.
        ValueError: `longest` is below 2 or not finite, or the layer has no biases, or no single gate that keeps.
    """
    _check_finite("longest", longest)
    if not longest >= 2:
        raise ValueError(f"longest: expected at least 2 steps, found {longest!r}")
    keep = _keep_gate(layer, "chrono_")
    cell = _cell_of(layer, "chrono_")
    write = gate_of(derive(cell).write, cell)
    drawn = []
    for bias in _biases_of(layer, keep.gate, "chrono_"):
        drawn.append(torch.empty_like(bias).uniform_(1, longest - 1).log_())
        bias.copy_(keep.sign * drawn[-1])
    if write is not None and write.gate != keep.gate:
        for bias, kept in zip(_biases_of(layer, write.gate, "chrono_"), drawn, strict=True):
            bias.copy_(-write.sign * kept)
    return layer


def _cell_of(layer: nn.Module, asked: str) -> Cell:
    cell = layer.cell if isinstance(layer, Recurrent) else torchs_cell(layer)
    if cell is not None:
        return cell
    raise TypeError(
        f"layer: {asked} knows torch.nn's RNN, GRU and LSTM, their cells, and layers of throughtime.Recurrent, found "
        f"{type(layer).__name__}"
    )


def _check_finite(argument: str, value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{argument}: expected a finite number, found {value!r}")


def _check_known(layer: nn.Module, asked: str) -> None:
    cell = _cell_of(layer, asked)
    known = {*_KNOWN, *(f"weight_{name}" for name in cell.units)}
    if other := sorted({name for name, _ in _parameters(layer)} - known):
        raise ValueError(
            f"layer: the weights {', '.join(other)} of {_named(layer)} have a meaning of their own, which {asked} does "
            "not know; use its reset_parameters()"
        )


def _recurrent_blocks(layer: nn.Module, asked: str) -> Iterator[Tensor]:
    """W_hh of every gate, layer and direction."""
    cell, found = _cell_of(layer, asked), list(_parameters(layer, "weight_hh"))
    if cell.enters != "dense" or not found:
        why = {
            "diagonal": "each of its units sees itself only, through a vector",
            "none": "its gates see the input only",
            "dense": "what multiplies its state is made of other weights",
        }[cell.enters]
        raise ValueError(f"layer: {asked} sets the matrix W_hh, and {_named(layer)} has none: {why}")
    for _, parameter in found:
        yield from parameter.chunk(len(cell.entered))


def _biases_of(layer: nn.Module, gate: str, asked: str) -> list[Tensor]:
    """The part of `bias_ih` that belongs to a gate, for every layer and direction; that of `bias_hh` is set to 0."""
    cell, found = _cell_of(layer, asked), list(_parameters(layer, "bias_ih"))
    if not found:
        raise ValueError(f"layer: {asked} sets a bias, and {_named(layer)} has none; make it with bias=True")
    for _, parameter in _parameters(layer, "bias_hh"):
        cell.split_recurrent(parameter).get(gate, parameter[:0]).zero_()
    return [cell.split(parameter)[gate] for _, parameter in found]


def _keep_gate(layer: nn.Module, asked: str) -> Gate:
    cell = _cell_of(layer, asked)
    keep = derive(cell).keep
    found = gate_of(keep, cell)
    if found is None:
        many = kept_by(cell) == "gates"
        why = "what it keeps is not the sigmoid of one gate, or 1 minus it" if many else "what it keeps is a constant"
        raise ValueError(f"layer: {asked} sets the bias of the gate that keeps, and {_named(layer)} has none: {why}")
    return found


def _parameters(layer: nn.Module, *names: str) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters, by name without layer and direction; all of them where no names are given."""
    for full, parameter in layer.named_parameters():
        name = _SUFFIX.sub("", full)
        if not names or name in names:
            yield name, parameter


def _hidden_size(layer: nn.Module) -> int:
    size = layer.hidden_size
    assert isinstance(size, int)
    return size


def _named(layer: nn.Module) -> str:
    return repr(layer.cell) if isinstance(layer, Recurrent) else type(layer).__name__
