"""Planted in gated networks: what the gates let pass."""

from torch import nn

import throughtime as tt
from faults.planted import FEATURES, UNITS, Case, Planted, ill, last_step, plain, reading
from faults.weights import biased, chrono

# The places of the gates among the rows. torch's LSTM: i, f, g, o; its GRU: r, z, n.
OPEN, CLOSED = 5.0, -5.0


def driving_itself(gain: float) -> Case:
    """A gated network that keeps all, and writes what its own state drives."""
    layer = biased(plain(tt.Gated), g0=4.0)
    layer.weight_hh_l0.mul_(gain)
    return reading(layer)


HEALTHY = (
    Planted("LSTM, forget bias +5", lambda: reading(biased(nn.LSTM(FEATURES, UNITS), g1=OPEN))),
    Planted(
        "LSTM, forget bias +5, last step read",
        lambda: reading(biased(nn.LSTM(FEATURES, UNITS), g1=OPEN), loss=last_step),
    ),
    Planted("LSTM, chrono", lambda: reading(chrono(nn.LSTM(FEATURES, UNITS), 200, forget=1, write=0))),
    Planted("GRU, update bias +4", lambda: reading(biased(nn.GRU(FEATURES, UNITS), g1=4.0))),
    Planted("Gated, keep bias +4, write bias -4", lambda: reading(biased(plain(tt.Gated), g0=4.0, g1=-4.0))),
    Planted("JANET, forget bias +4", lambda: reading(biased(plain(tt.JANET), g0=4.0))),
    Planted("MGU, gate bias -4", lambda: reading(biased(plain(tt.MGU), g0=-4.0))),
    Planted("minGRU, gate bias -4", lambda: reading(biased(plain(tt.MinGRU), g0=-4.0))),
    Planted("peephole LSTM, forget bias +5", lambda: reading(biased(plain(tt.PeepholeLSTM), g1=OPEN))),
)

ILL = (
    ill("LSTM, torch's initialisation", lambda: reading(nn.LSTM(FEATURES, UNITS)), "vanishing"),
    ill("GRU, torch's initialisation", lambda: reading(nn.GRU(FEATURES, UNITS)), "vanishing"),
    ill("Gated, torch's initialisation", lambda: reading(plain(tt.Gated)), "vanishing"),
    ill("Gated, keep bias +4, weight_hh five times as large", lambda: driving_itself(5.0), "exploding"),
    ill(
        "LSTM, forget bias -5", lambda: reading(biased(nn.LSTM(FEATURES, UNITS), g1=CLOSED)), "vanishing", "closed gate"
    ),
    ill("GRU, update bias -5", lambda: reading(biased(nn.GRU(FEATURES, UNITS), g1=CLOSED)), "vanishing", "closed gate"),
    ill("Gated, keep bias -5", lambda: reading(biased(plain(tt.Gated), g0=CLOSED)), "vanishing", "closed gate"),
    ill("LSTM, nothing written", lambda: reading(biased(nn.LSTM(FEATURES, UNITS), g0=-9.0, g1=OPEN)), "closed gate"),
    ill("LSTM, nothing read", lambda: reading(biased(nn.LSTM(FEATURES, UNITS), g1=OPEN, g3=-9.0)), "closed gate"),
    ill("LSTM, forget bias +10", lambda: reading(biased(nn.LSTM(FEATURES, UNITS), g1=10.0)), "gates stuck open"),
    ill("GRU, update bias +10", lambda: reading(biased(nn.GRU(FEATURES, UNITS), g1=10.0)), "gates stuck open"),
    ill("JANET, forget bias +10", lambda: reading(biased(plain(tt.JANET), g0=10.0)), "gates stuck open"),
    ill("GRU, candidate saturated", lambda: reading(biased(nn.GRU(FEATURES, UNITS), g1=4.0, g2=7.0)), "saturated"),
    ill(
        "LSTM, candidate saturated",
        lambda: reading(biased(nn.LSTM(FEATURES, UNITS), g0=-4.0, g1=OPEN, g2=7.0)),
        "saturated",
    ),
    ill(
        "LiGRU, all units dead",
        lambda: reading(biased(plain(tt.LiGRU), g0=4.0, g1=-9.0)),
        "dead ReLU",
    ),
    ill("LiGRU, torch's initialisation", lambda: reading(plain(tt.LiGRU)), "vanishing"),
)
