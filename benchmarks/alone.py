"""One measurement in a process of its own, whose memory can be told from that of all others."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import throughtime as tt
from benchmarks.timing import agree, seconds_of

FEATURES = 8
# Of a run that is not measured.
STEPS_BEFORE = 50
KINDS = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


@dataclass(frozen=True)
class Setting:
    """A model, its data, and how it is examined.

    Args:
        kind: The layer, of KINDS.
        steps: T.
        batch: B.
        hidden: H.
        asked: What `tt.examine` is asked for, by the names of its arguments.
    """

    kind: str
    steps: int
    batch: int
    hidden: int
    asked: dict[str, int] = field(default_factory=dict)

    def measured(self, what: str) -> dict[str, float]:
        """Seconds, and GiB that the process had at most beyond what it had before, of an examination, "examine", or of
        the forward and the backward pass of the same model, "step"."""
        command = [sys.executable, "-m", "benchmarks.alone", what, json.dumps(asdict(self))]
        found: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        return found


class Model(nn.Module):
    """A recurrence and its readout."""

    def __init__(self, layer: type[nn.RNNBase], hidden: int) -> None:
        super().__init__()
        self.layer, self.readout = layer(FEATURES, hidden), nn.Linear(hidden, 1)

    def forward(self, inputs: Tensor, state: Any = None) -> Tensor:
        """(time, batch, 1)."""
        return self.readout(self.layer(inputs, state)[0])


def loss(output: Tensor, targets: Tensor) -> Tensor:
    """Squared error by step."""
    return (output - targets).square().sum((1, 2))


def here(what: str, setting: Setting) -> dict[str, float]:
    """One number, in this process; for an examination once its map has been compared with autograd's."""
    torch.manual_seed(0)
    model = Model(KINDS[setting.kind], setting.hidden)
    inputs = torch.randn(setting.steps, setting.batch, FEATURES)
    targets = torch.randn(setting.steps, setting.batch, 1)

    def step(last: int | None = None, **_: int) -> None:
        loss(model(inputs[:last]), targets[:last]).sum().backward()

    def examine(last: int | None = None, **asked: int) -> tt.Examination:
        return tt.examine(model, inputs[:last], targets[:last], loss=loss, **asked)

    run = {"step": step, "examine": examine}[what]
    # What is loaded at first use.
    run(STEPS_BEFORE)
    began, found = _peak(), []
    seconds = seconds_of(lambda: found.append(run(**setting.asked)))
    gibibytes = _peak() - began
    for exam in filter(None, found):
        column = exam["layer.l0"].gradient_map.sel(state="h", loss_step=setting.steps)
        _compare(model, inputs, targets, column, setting.asked.get("max_lag", setting.steps))
    return {"seconds": seconds, "gibibytes": gibibytes}


def _compare(model: Model, inputs: Tensor, targets: Tensor, column: Any, steps: int) -> None:
    """The last loss, followed by autograd through the last steps, one call each."""
    first = max(0, len(inputs) - steps)
    with torch.no_grad():
        state = model.layer(inputs[:first])[1] if first else None
    states = []
    for x in inputs[first:].unbind(0):
        _, state = model.layer(x.unsqueeze(0), state)
        states.append(state if isinstance(state, Tensor) else state[0])
    last = (model.readout(states[-1]) - targets[-1]).square().sum()
    gradients = torch.stack(torch.autograd.grad(last, states))
    expected = gradients.double().square().sum(-1).mean((1, 2)).log() / 2
    followed = np.arange(first + 1, len(inputs) + 1)
    agree("autograd", torch.tensor(column.sel(state_step=followed).values), expected)


def _peak() -> float:
    """GiB that the process has had at most; what getrusage tells begins with what the process that started it had."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


if __name__ == "__main__":
    print(json.dumps(here(sys.argv[1], Setting(**json.loads(sys.argv[2])))))
