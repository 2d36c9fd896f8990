"""Planted in networks without gates: the weights, the slopes, the ReLUs."""

import math

import torch
from torch import nn

import throughtime as tt
from faults.planted import FEATURES, UNITS, Case, Planted, ill, last_step, reading
from faults.weights import biased, gaussian, growing_first, orthogonal, recurrent


def tanh(weight: float, **options: object) -> Case:
    """A tanh network whose recurrent weights are a multiple of an orthogonal matrix, driven gently."""
    return reading(recurrent(nn.RNN(FEATURES, UNITS), orthogonal(UNITS, weight)), **options)


def in_float64(case: Case) -> Case:
    """The same network and data in double precision."""
    return Case(case.model.double(), case.inputs.double(), case.loss, case.targets.double(), case.keywords)


def identity(gain: float = 1.0, bias: float = 0.5) -> Case:
    """A ReLU network that starts from a multiple of the identity; its units are all active."""
    layer = recurrent(nn.RNN(FEATURES, UNITS, nonlinearity="relu"), gain * torch.eye(UNITS))
    return reading(biased(layer, g0=bias))


def ring(modulus: float) -> Case:
    """A linear network whose eigenvalues turn, and shrink alike."""
    layer = tt.LRU(FEATURES, UNITS)
    layer.weight_nu_l0.fill_(math.log(-math.log(modulus)))
    return reading(layer)


def partly_dead() -> Case:
    """The same with two thirds of its biases far below 0."""
    case = identity()
    case.model.layer.bias_ih_l0[: 2 * UNITS // 3] = -5.0
    return case


def saturated(bias: float) -> Case:
    """A tanh network whose units a large bias drives to their ends."""
    case = tanh(1.0)
    case.model.layer.bias_ih_l0.copy_(bias * torch.randn(UNITS).sign())
    return case


def independent(weight: float) -> Case:
    """Units that see themselves only, all active."""
    layer = recurrent(tt.IndRNN(FEATURES, UNITS), torch.full((UNITS,), weight))
    return reading(biased(layer, g0=0.5))


def chaos(gain: float) -> Case:
    """Without inputs, started anywhere: Sompolinsky, Crisanti, Sommers 1988."""
    layer = recurrent(nn.RNN(FEATURES, 2 * UNITS), gaussian(2 * UNITS, gain), inputs=1.0)
    return reading(layer, width=2 * UNITS, scale=0.01, loss=last_step)


HEALTHY = (
    Planted("tanh, orthogonal", lambda: tanh(1.0)),
    Planted("tanh, orthogonal, float64", lambda: in_float64(tanh(1.0))),
    Planted("tanh, orthogonal, last step read", lambda: tanh(1.0, loss=last_step)),
    Planted(
        "tanh, non-normal, first grows 19 times",
        lambda: reading(recurrent(nn.RNN(FEATURES, UNITS), growing_first(UNITS), 0.001)),
    ),
    Planted("ReLU, identity", lambda: identity()),
    Planted("IRNN", lambda: reading(biased(tt.IRNN(FEATURES, UNITS), g0=0.5), scale=0.1)),
    Planted("IndRNN, weights 1", lambda: independent(1.0)),
    Planted("antisymmetric", lambda: reading(tt.AntisymmetricRNN(FEATURES, UNITS))),
    Planted("leaky, time constant 40", lambda: reading(tt.CTRNN(FEATURES, UNITS, tau=40.0))),
    Planted("LRU, moduli 0.98", lambda: ring(0.98)),
)

ILL = (
    ill("tanh, 0.3 x orthogonal", lambda: tanh(0.3), "vanishing"),
    ill("tanh, 0.3 x orthogonal, float64", lambda: in_float64(tanh(0.3)), "vanishing"),
    ill("tanh, 0.3 x orthogonal, last step read", lambda: tanh(0.3, loss=last_step), "vanishing"),
    ill("tanh, torch's initialisation", lambda: reading(nn.RNN(FEATURES, UNITS)), "vanishing"),
    ill("tanh, gain 3, chaos", lambda: chaos(3.0), "exploding"),
    ill("ReLU, 1.2 x identity", lambda: identity(1.2), "exploding"),
    ill("tanh, saturated by its biases", lambda: saturated(4.0), "vanishing", "saturated"),
    ill("tanh, saturated by its inputs", lambda: tanh(1.0, scale=300.0), "vanishing", "saturated"),
    ill("ReLU, all units dead", lambda: identity(bias=-5.0), "vanishing", "dead ReLU"),
    ill("ReLU, two thirds of the units dead", lambda: partly_dead(), "dead ReLU"),
    ill("IndRNN, weights 0.5", lambda: independent(0.5), "vanishing"),
    ill("IndRNN, weights 1.2", lambda: independent(1.2), "exploding"),
    ill("leaky, time constant 2", lambda: reading(tt.CTRNN(FEATURES, UNITS, tau=2.0)), "vanishing"),
)
