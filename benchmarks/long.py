"""Long sequences: seconds and memory against T, with so many losses followed so far back; a process for every T.

`python -m benchmarks.long 1000000` measures a single length and prints it as JSON.
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
    numbers = [in_its_own_process(kind, steps) for kind in KINDS for steps in LENGTHS]
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
        "With all measures. A training step is the forward and the backward pass of the same model; memory is what the "
        "process had at most beyond what it had before. The map of the last loss was first compared with autograd's "
        f"over the last {MAX_LAG} steps. Exponents of growth with T: {exponents}.",
        ("cell", "T", "examine, s", "in training steps", "examine, GiB", "training step, GiB"),
        rows,
        numbers,
    )


def in_its_own_process(kind: str, steps: int) -> dict[str, Any]:
    """One length, where its memory can be told from that of the others."""
    command = [sys.executable, "-m", "benchmarks.long", str(steps), kind]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(printed)
    return found


def one(kind: str, steps: int) -> dict[str, Any]:
    """One length."""
    torch.manual_seed(0)
    model = Model(KINDS[kind])
    inputs, targets = torch.randn(steps, 1, FEATURES), torch.randn(steps, 1, 1)
    began, found = _peak(), []

    def step() -> None:
        model.zero_grad()
        loss(model(inputs), targets).sum().backward()

    def examine() -> None:
        found.append(tt.examine(model, inputs, targets, loss=loss, max_lag=MAX_LAG, loss_steps=LOSSES))

    seconds, gibibytes = {}, {}
    for name, run in {"step": step, "examine": examine}.items():
        seconds[name] = seconds_of(run)
        gibibytes[name] = _peak() - began
    _compare(model, inputs, targets, found[0]["layer.l0"].gradient_map.sel(state="h", loss_step=steps))
    return {"cell": kind, "steps": steps, "seconds": seconds, "gibibytes": gibibytes, "reach": found[0].reach(0.99)}


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
    own = [found for found in numbers if found["cell"] == kind]
    sizes, values = [found["steps"] for found in own], [found[what]["examine"] for found in own]
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


if __name__ == "__main__":
    print(json.dumps(one(sys.argv[2] if len(sys.argv) > 2 else "RNN", int(sys.argv[1]))))
