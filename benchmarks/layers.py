"""Layers, forward and backward, against torch's own, a Python loop, and another library's loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import throughtime as tt
from benchmarks import machine
from benchmarks.drawing import bars
from benchmarks.section import Section
from benchmarks.timing import side_by_side

# T, B, H.
SIZES = ((200, 32, 64), (200, 32, 128), (1000, 8, 64), (200, 32, 256), (200, 32, 512))
OWN_SIZES = ((200, 32, 64), (200, 32, 128))
RAGGED_SIZE = (200, 32, 128)
ROUNDS = 5
# Between two executors in float32, relative to the largest number of a tensor.
TOLERANCE = 1e-3
WORDS = """\
How long others take, in the time of Throughtime's layer, which chooses what runs it: in float32, an LSTM that is not
ragged and whose recurrent weights do not fit a core's cache is torch's own. Before a time is taken, outputs and all
gradients are compared; torchrecurrent's MGU, which has its gate elsewhere, is compared with those weights at zero that
this concerns. Of the Python loops, one is written by hand in the cell's equations, step by step; the other is
Throughtime's own reference, which makes the product with all inputs before it. Ragged batches have lengths from T / 4
to T, and are compared with the padded batch."""


def measured() -> Section:
    """Ratios, each of two that took turns, after outputs and gradients have been compared."""
    numbers = [
        *(against_torch(name, *size) for name in ("GRU", "RNN", "LSTM") for size in SIZES),
        *(against_loops(*size) for size in OWN_SIZES),
        *(ragged(name, *RAGGED_SIZE) for name in ("GRU", "LSTM")),
    ]
    rows = [
        (
            found["what"],
            found["ran"],
            f"{1e3 * found['seconds']['Throughtime']:.1f}",
            ", ".join(f"{name} {ratio:.2f} x" for name, ratio in found["takes"].items()),
        )
        for found in numbers
    ]
    return Section(
        "layers",
        "Training a layer: forward and backward",
        WORDS,
        ("setting", "ran", "Throughtime, ms", "in its time"),
        rows,
        numbers,
        {
            "How much longer torch's layers take": bars(
                {
                    f"{found['what']}{name.removeprefix('torch.nn.').lstrip('GRULSTMN')}": ratio
                    for found in numbers
                    for name, ratio in found["takes"].items()
                    if name.startswith("torch.nn.")
                },
                "times as long as Throughtime",
            )
        },
    )


def against_torch(name: str, steps: int, batch: int, hidden: int) -> dict[str, Any]:
    """One of torch's layers."""
    torch.manual_seed(0)
    with machine.DEVICE:
        theirs, ours = getattr(nn, name)(hidden, hidden), getattr(tt, name)(hidden, hidden)
        inputs = torch.randn(steps, batch, hidden, requires_grad=True)
    ours.load_state_dict(theirs.state_dict())
    runs = {"Throughtime": _training(ours, inputs), f"torch.nn.{name}": _training(theirs, inputs)}
    return _compared(_setting(name, steps, batch, hidden), ours, runs)


def against_loops(steps: int, batch: int, hidden: int) -> dict[str, Any]:
    """A cell of one's own: the minimal gated unit."""
    torch.manual_seed(0)
    with machine.DEVICE:
        ours, loop = tt.MGU(hidden, hidden), tt.MGU(hidden, hidden, backend="reference")
        # Their backward pass is quadratic in the steps where the input has a gradient; without one it is at its best.
        inputs = torch.randn(steps, batch, hidden)
    loop.load_state_dict(ours.state_dict())
    runs = {
        "Throughtime": _training(ours, inputs),
        "a loop by hand": _training(ByHand(ours), inputs),
        "the reference": _training(loop, inputs),
    }
    theirs = _torchrecurrent(ours, inputs)
    runs |= {} if theirs is None else {"torchrecurrent": theirs}
    return _compared(_setting("MGU", steps, batch, hidden), ours, runs, without=("torchrecurrent",))


class ByHand(nn.Module):
    """The minimal gated unit as a user writes it, with the weights of a layer."""

    def __init__(self, layer: tt.Recurrent) -> None:
        super().__init__()
        self.weight_ih, self.weight_hh = layer.weight_ih_l0, layer.weight_hh_l0
        self.bias_ih, self.bias_hh = layer.bias_ih_l0, layer.bias_hh_l0

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        """(time, batch, hidden)."""
        h, states = inputs.new_zeros(inputs.shape[1], self.weight_hh.shape[1]), []
        for x in inputs.unbind(0):
            x_f, x_n = nn.functional.linear(x, self.weight_ih, self.bias_ih).chunk(2, dim=1)
            u_f, u_n = nn.functional.linear(h, self.weight_hh, self.bias_hh).chunk(2, dim=1)
            f = torch.sigmoid(x_f + u_f)
            h = (1 - f) * h + f * torch.tanh(x_n + f * u_n)
            states.append(h)
        return (torch.stack(states),)


def ragged(name: str, steps: int, batch: int, hidden: int) -> dict[str, Any]:
    """A ragged batch, packed or with its lengths, against the padded one, by Throughtime and by torch."""
    torch.manual_seed(0)
    with machine.DEVICE:
        theirs, ours = getattr(nn, name)(hidden, hidden), getattr(tt, name)(hidden, hidden)
        inputs = torch.randn(steps, batch, hidden, requires_grad=True)
    ours.load_state_dict(theirs.state_dict())
    lengths = torch.linspace(steps // 4, steps, batch).long()
    packed = {"enforce_sorted": False, "lengths": lengths}
    runs = {
        "Throughtime": _training(ours, inputs, packed),
        "Throughtime, lengths=": lambda: torch.autograd.grad(
            ours(inputs, lengths=lengths)[0].sum(), [inputs, *ours.parameters()]
        ),
        f"torch.nn.{name}, packed": _training(theirs, inputs, packed),
        "Throughtime, padded": _training(ours, inputs),
        f"torch.nn.{name}, padded": _training(theirs, inputs),
    }
    padded = ("Throughtime, padded", f"torch.nn.{name}, padded", "Throughtime, lengths=")
    return _compared(f"{_setting(name, steps, batch, hidden)}, ragged", ours, runs, without=padded)


def _training(layer: nn.Module, inputs: Tensor, packed: Mapping[str, Any] | None = None) -> Callable[[], list[Tensor]]:
    """Forward and backward: the output and the gradients of the weights."""

    def run() -> list[Tensor]:
        given = inputs if packed is None else pack_padded_sequence(inputs, **packed)
        output = layer(given)[0]
        output = output if packed is None else output.data
        weights = [*layer.parameters(), *([inputs] if inputs.requires_grad else [])]
        return [output.detach(), *torch.autograd.grad(output.sum(), weights)]

    return run


def _compared(
    what: str, ours: tt.Recurrent, runs: Mapping[str, Callable[[], Any]], without: tuple[str, ...] = ()
) -> dict[str, Any]:
    expected = runs["Throughtime"]()
    ran = ours.backend
    for name, run in runs.items():
        if name not in without:
            _agree(f"{what}: {name}", run(), expected)
    timed = side_by_side(runs, ROUNDS)
    seconds = {name: found.seconds for name, found in timed.items()}
    takes = {name: value / seconds["Throughtime"] for name, value in seconds.items() if name != "Throughtime"}
    return {"what": what, "ran": ran, "seconds": seconds, "takes": takes}


def _agree(what: str, found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        worst = float((one - other).abs().max() / other.abs().max())
        if not worst <= TOLERANCE:
            raise SystemExit(f"{what}: the results differ by {worst:.2g} of the largest; no speed is printed")


def _torchrecurrent(ours: tt.Recurrent, inputs: Tensor) -> Callable[[], list[Tensor]] | None:
    """Its MGU, once it has given the same output as ours with the same weights; None where it is not installed."""
    try:
        import torchrecurrent
    except ImportError:
        return None
    hidden = ours.hidden_size
    theirs, trial = (kind(ours.input_size, hidden).to(machine.DEVICE) for kind in (torchrecurrent.MGU, tt.MGU))
    with torch.no_grad():
        # Rows of the candidate: with these zero, it does not matter on which side of the product the gate stands.
        trial.weight_hh_l0[hidden:].zero_()
        trial.bias_hh_l0[hidden:].zero_()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(theirs.cells[0], name).copy_(getattr(trial, f"{name}_l0"))
        _agree("torchrecurrent's MGU", [theirs(inputs)[0]], [trial(inputs)[0]])
    return _training(theirs, inputs)


def _setting(name: str, steps: int, batch: int, hidden: int) -> str:
    return f"{name}, T = {steps}, B = {batch}, H = {hidden}"
