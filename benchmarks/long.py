"""Long sequences: seconds and memory against T, with so many losses followed so far back; a process for every number.

`python -m benchmarks.long examine RNN 1000000` measures a single one and prints it as JSON.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import throughtime as tt
from benchmarks.section import Section
from benchmarks.timing import agree, seconds_of

LENGTHS = (25_000, 50_000, 100_000)
MILLION = 1_000_000
FEATURES, HIDDEN, MAX_LAG, LOSSES = 8, 64, 2048, 64
KINDS = {"RNN": nn.RNN, "LSTM": nn.LSTM}


class Model(nn.Module):
    """A recurrence and its readout."""

    def __init__(self, layer: type[nn.RNNBase]) -> None:
        super().__init__()
        self.layer, self.readout = layer(FEATURES, HIDDEN), nn.Linear(HIDDEN, 1)

    def forward(self, inputs: Tensor, state: Any = None) -> Tensor:
        """(time, batch, 1)."""
        return self.readout(self.layer(inputs, state)[0])


def loss(output: Tensor, targets: Tensor) -> Tensor:
    """Squared error by step."""
    return (output - targets).square().sum((1, 2))


def measured() -> Section:
    """Every cell at every length."""
    numbers = [one(kind, steps) for kind in KINDS for steps in (*LENGTHS, MILLION)]
    rows = [
        (
            found["cell"],
            f"{found['steps']:,}",
            f"{found['seconds']['examine']:.1f}",
            f"{found['seconds']['examine'] / found['seconds']['step']:.1f} x",
            f"{found['gibibytes']['examine']:.2f}",
            f"{found['gibibytes']['step']:.2f}",
        )
        for found in numbers
    ]
    exponents = "; ".join(
        f"{kind}: time {_exponent(numbers, kind, 'seconds'):.2f}, memory {_exponent(numbers, kind, 'gibibytes'):.2f}"
        for kind in KINDS
    )
    return Section(
        "long",
        f"Long sequences, B = 1, H = {HIDDEN}, max_lag = {MAX_LAG}, {LOSSES} losses followed",
        "With all measures. A training step is the forward and the backward pass of the same model, in a process of "
        "its own; memory is what a process had at most beyond what it had before. The map of the last loss was "
        f"compared with autograd's over the last {MAX_LAG} steps. Exponents of growth with T up to {LENGTHS[-1]:,}, "
        f"where all steps are followed from some loss: {exponents}. Of a million steps no more than {MAX_LAG} are "
        "followed from each, and the graph of a layer, which would not fit, is made segment by segment.",
        ("cell", "T", "examine, s", "in training steps", "examine, GiB", "training step, GiB"),
        rows,
        numbers,
    )


def one(kind: str, steps: int) -> dict[str, Any]:
    """One length, each number from a process whose memory can be told from that of the others."""
    found: dict[str, Any] = {"cell": kind, "steps": steps, "seconds": {}, "gibibytes": {}}
    for what in ("step", "examine"):
        command = [sys.executable, "-m", "benchmarks.long", what, kind, str(steps)]
        printed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        found["seconds"][what], found["gibibytes"][what] = printed["seconds"], printed["gibibytes"]
    return found


def here(what: str, kind: str, steps: int) -> dict[str, float]:
    """One number of one length, in this process."""
    torch.manual_seed(0)
    model = Model(KINDS[kind])
    inputs, targets = torch.randn(steps, 1, FEATURES), torch.randn(steps, 1, 1)
    began, found = _peak(), []

    def step() -> None:
        loss(model(inputs), targets).sum().backward()

    def examine() -> None:
        found.append(tt.examine(model, inputs, targets, loss=loss, max_lag=MAX_LAG, loss_steps=LOSSES))

    seconds = seconds_of({"step": step, "examine": examine}[what])
    gibibytes = _peak() - began
    for exam in found:
        _compare(model, inputs, targets, exam["layer.l0"].gradient_map.sel(state="h", loss_step=steps))
    return {"seconds": seconds, "gibibytes": gibibytes}


def _compare(model: Model, inputs: Tensor, targets: Tensor, column: Any) -> None:
    """The last loss, followed by autograd through the last steps, one call each."""
    first = max(0, len(inputs) - MAX_LAG)
    with torch.no_grad():
        state = model.layer(inputs[:first])[1] if first else None
    states = []
    for x in inputs[first:].unbind(0):
        _, state = model.layer(x.unsqueeze(0), state)
        states.append(state if isinstance(state, Tensor) else state[0])
    last = (model.readout(states[-1]) - targets[-1]).square().sum()
    gradients = torch.stack(torch.autograd.grad(last, states))
    expected = gradients.double().square().sum(-1).mean((1, 2)).log() / 2
    steps = np.arange(first + 1, len(inputs) + 1)
    agree("autograd", torch.tensor(column.sel(state_step=steps).values), expected)


def _peak() -> float:
    """GiB that the process has had at most; what getrusage tells begins with what the process that started it had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


def _exponent(numbers: list[dict[str, Any]], kind: str, what: str) -> float:
    own = [found for found in numbers if found["cell"] == kind and found["steps"] in LENGTHS]
    sizes, values = [found["steps"] for found in own], [found[what]["examine"] for found in own]
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


if __name__ == "__main__":
    print(json.dumps(here(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
