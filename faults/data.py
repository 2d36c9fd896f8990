"""Planted in the data: one sample unlike the others, and padding."""

from torch import nn

from faults.planted import FEATURES, UNITS, Case, Planted, ill, last_step, reading
from faults.weights import orthogonal, recurrent


def held_back() -> Case:
    """A tanh network of gain 1.5 whose inputs hold it back: slopes and weights are in balance."""
    layer = recurrent(nn.RNN(FEATURES, UNITS), orthogonal(UNITS, 1.5), inputs=1.0)
    return reading(layer, scale=1.5, loss=last_step)


def one_silent_sample() -> Case:
    """The same with a sample without inputs, which nothing holds back."""
    case = held_back()
    case.inputs[:, 2] = 0
    return case


HEALTHY = (Planted("tanh, gain 1.5, held back by its inputs", held_back),)

ILL = (ill("tanh, gain 1.5, one silent sample", one_silent_sample, "exploding"),)
