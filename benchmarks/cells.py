"""The page of all cells, docs/cells.md: `python -m benchmarks.cells` examines and times each anew, and writes it."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
import torch
from torch import Tensor, nn

import throughtime as tt
from benchmarks import page
from benchmarks.drawing import SMALL, in_house_looks
from benchmarks.machine import named
from benchmarks.timing import side_by_side
from throughtime import cells
from throughtime.report.figures.drawing import GRID, line
from throughtime.unroll import Stepwise

STEPS, BATCH, FEATURES, HIDDEN = 200, 8, 16, 64
# How far apart the outputs of two executors may be, whatever their order of summation, before no speed is printed.
TOLERANCE = 1e-3
# By cell, who published it, and when.
SOURCES = {
    "RNN": "Elman 1990",
    "RNN, relu": "the same with a ReLU",
    "IRNN": "Le, Jaitly, Hinton 2015",
    "CTRNN": "Funahashi, Nakamura 1993",
    "AntisymmetricRNN": "Chang, Chen, Haber, Chi 2019",
    "IndRNN": "Li, Li, Cook, Zhu, Gao 2018",
    "LRU": "Orvieto et al. 2023",
    "SCRN": "Mikolov et al. 2014",
    "Gated": "[the general form](../README.md#a-cell-of-your-own)",
    "GRU": "Cho et al. 2014, reset after the product",
    "ResetBeforeGRU": "Cho et al. 2014",
    "MGU": "Zhou, Wu, Zhang, Zhou 2016",
    "UGRNN": "Collins, Sohl-Dickstein, Sussillo 2017",
    "JANET": "van der Westhuizen, Lasenby 2018",
    "LiGRU": "Ravanelli, Brakel, Omologo, Bengio 2018",
    "MinGRU": "Feng et al. 2024",
    "LSTM": "Hochreiter, Schmidhuber 1997; Gers et al. 2000",
    "PeepholeLSTM": "Gers, Schraudolph, Schmidhuber 2002",
    "CoupledLSTM": "Greff et al. 2017",
    "MinLSTM": "Feng et al. 2024",
    "RAN": "Lee, Levy, Zettlemoyer 2017",
    "STAR": "Turkoglu, D'Aronco, Wegner, Schindler 2021",
    "CFN": "Laurent, von Brecht 2017",
    "SRU": "Lei, Zhang, Wang, Dai, Artzi 2018",
    "QRNN": "Bradbury, Merity, Xiong, Socher 2017",
}
ENTERS = {"dense": "dense", "diagonal": "unit by unit", "none": "not at all"}
WORDS = f"""# The cells

Every cell that Throughtime comes with, as it starts: fresh from `reset_parameters()`, before any training, examined on
inputs from a normal distribution (T = {STEPS}, B = {BATCH}, {FEATURES} features, H = {HIDDEN}), a linear readout and
a squared error at every step. `python -m benchmarks.cells` measures everything anew and writes this page.

A cell that is far on the left here cannot learn from far back until something else than its start has changed that;
what it can learn after training, or with another of the [initialisations](#initialisations), is another question. The
equations of each stand in its file in `src/throughtime/cells`, with what differs from popular implementations."""
COLUMNS = """\
- **h enters**: through a matrix W_hh ("dense"), through a vector ("unit by unit"), or not at all; "twice" where one
  step takes two products in a row.
- **paths**: of the step Jacobian, which `exam.causes` tells apart; none where a step is followed as a loop is.
- **decay rate** of the state that is carried from step to step, in nats per step; -0.69 halves the gradient. In the
  picture it is the distance over which the gradient shrinks to 1/e, where it shrinks at all.
- **reach**: the window of truncated backpropagation, in steps, within 1 % of the whole gradient; the next larger one of
  those that an examination of this length tells apart.
- **time**: forward and backward, in that of `torch.nn.GRU` of the same size in the same run, and what ran it. Outputs
  were first compared with those of the equations themselves, run step by step."""
KERNELS = """\
## What runs them

The kernel of a cell is generated from its equations and their derivatives, once for a CPU and once for a GPU, and
printed by `tt.show_kernel(cell)` and `tt.show_kernel(cell, device="cuda")`. On a CPU Numba compiles it. On a GPU it
is in Triton (`pip install throughtime[triton]`; torch for CUDA brings it), for all that torch has no layer of its
own for.

Outputs and all gradients of the kernels in Triton are those of the equations themselves, for every cell here: in
Triton's interpreter on a CPU, and on an NVIDIA H200 (torch 2.11, Triton 3.6), in float64. They are written to be right
and readable, and are not tuned. A function made by `tt.elementwise` becomes a part of
them where it consists of arithmetic, comparisons, roots, small whole powers and exp, log, sin, cos, tan, sinh,
cosh, tanh, sigmoid, relu, erf, expm1 and log1p; of any other, `backend="fused"` says so, and `backend="auto"` runs
the equations step by step."""
INITIALISATIONS = """## Initialisations

`throughtime.init` sets them in place, on these layers as on torch's, and refuses what does not apply to a cell.

| function | what it sets | source |
|---|---|---|
| `default_` | every weight from U(-1/sqrt(H), 1/sqrt(H)) | torch |
| `orthogonal_` | W_hh of every gate orthogonal, times a gain | Saxe, McClelland, Ganguli 2014 |
| `identity_` | W_hh of every gate the identity, times a gain; biases 0 | Le, Jaitly, Hinton 2015 |
| `forget_bias_` | the bias of the gate that keeps | Gers et al. 2000; Jozefowicz et al. 2015 |
| `chrono_` | biases of the gates that keep and write, for dependencies of a length | Tallec, Ollivier 2018 |"""


@dataclass(frozen=True)
class Measured:
    """One cell, as it starts.

    Args:
        states: Their names.
        enters: How the state enters.
        paths: Of the step Jacobian.
        decay_rate: Of the carried state, nats per step.
        reach: Steps.
        time: Forward and backward, in that of torch's GRU.
        backend: What ran it.
    """

    states: Sequence[str]
    enters: str
    paths: Sequence[str]
    decay_rate: float
    reach: float
    time: float
    backend: str


class Model(nn.Module):
    """A recurrence and its readout."""

    def __init__(self, layer: nn.Module, features: int) -> None:
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(features, FEATURES)

    def forward(self, inputs: Tensor) -> Tensor:
        """(time, batch, features)."""
        return self.readout(self.layer(inputs)[0])


def layers() -> dict[str, Any]:
    """By name, a function that makes the layer of a cell, in the order of `SOURCES`."""
    made = {type(cell).__name__: getattr(tt, type(cell).__name__) for cell in cells.ALL_CELLS}
    made |= {"ResetBeforeGRU": tt.ResetBeforeGRU, "SCRN": tt.SCRN}
    made["RNN, relu"] = functools.partial(tt.RNN, nonlinearity="relu")
    return {name: made[name] for name in SOURCES}


def one(make: Any) -> Measured:
    """Examined and timed."""
    torch.manual_seed(0)
    layer, inputs, targets = make(FEATURES, HIDDEN), *torch.randn(2, STEPS, BATCH, FEATURES)
    model = Model(layer, layer(inputs)[0].shape[-1])
    exam = tt.examine(model, inputs, targets, loss=lambda output, targets: (output - targets).square().sum((1, 2)))
    (name,) = exam.recurrences
    stepwise = isinstance(layer, Stepwise)
    time, backend = _timed(layer, inputs)
    return Measured(
        layer.of.states if stepwise else layer.cell.states,
        "twice" if stepwise else ENTERS[layer.cell.enters],
        exam.causes(name).path.values.tolist(),
        float(exam[name].decay_rate[-1]),
        exam.reach(0.99)[name],
        time,
        backend,
    )


def _timed(layer: nn.Module, inputs: Tensor) -> tuple[float, str]:
    torchs = nn.GRU(FEATURES, HIDDEN)

    def step(module: nn.Module) -> Tensor:
        module.zero_grad()
        output = module(inputs)[0]
        output.sum().backward()
        return output.detach()

    timed = side_by_side({"torch": lambda: step(torchs), "own": lambda: step(layer)}, rounds=5)
    backend = "steps"
    if isinstance(layer, tt.Recurrent):
        backend = layer.backend
        if not (timed["own"].found - _by_equations(layer, inputs)).abs().max() <= TOLERANCE:
            raise SystemExit(f"{layer}: what ran it and its equations differ; no speed is printed")
    return timed["own"].seconds / timed["torch"].seconds, backend


@torch.no_grad()
def _by_equations(layer: tt.Recurrent, inputs: Tensor) -> Tensor:
    """The outputs of the equations themselves."""
    layer.backend = "reference"
    output: Tensor = layer(inputs)[0]
    return output


def picture(found: Mapping[str, Measured]) -> go.Figure:
    """Reach and the distance over which the gradient shrinks to 1/e, both in steps, on one axis."""
    names = sorted(found, key=lambda name: (found[name].reach, found[name].decay_rate))
    drawn = go.Figure()
    shrinking = [name for name in names if found[name].decay_rate < 0]
    folds = [-1 / found[name].decay_rate for name in shrinking]
    for index, (label, rows, values, symbol) in enumerate(
        (
            ("reach: the window that holds 99 % of the gradient", names, [found[n].reach for n in names], "circle"),
            ("the gradient shrinks to 1/e: -1 / decay rate", shrinking, folds, "diamond-open"),
        )
    ):
        looks = {"symbol": symbol, "size": 9, "color": line(index)["color"]}
        drawn.add_scatter(x=values, y=rows, mode="markers", name=label, marker=looks)
    ticks = [10**power * digit for power in range(-1, 4) for digit in (1, 2, 5)]
    drawn.update_xaxes(type="log", title="steps", gridcolor=GRID, tickvals=ticks, ticktext=[f"{t:g}" for t in ticks])
    drawn.update_yaxes(categoryorder="array", categoryarray=names, gridcolor=GRID, tickfont={"size": SMALL})
    in_house_looks(drawn, 120 + 20 * len(names))
    drawn.update_layout(margin={"l": 130})
    return drawn


def table(found: Mapping[str, Measured]) -> str:
    """In Markdown."""
    header = ("cell", "source", "states", "h enters", "paths", "decay rate", "reach", "time")
    rows = [
        (
            f"`{name}`",
            SOURCES[name],
            ", ".join(one.states),
            one.enters,
            ", ".join(one.paths) or "-",
            f"{one.decay_rate:.3g}",
            f"{one.reach:g}" if math.isfinite(one.reach) else "-",
            f"{one.time:.2g} ({one.backend})",
        )
        for name, one in found.items()
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows))


def main() -> None:
    """Write docs/cells.md and docs/cells.svg."""
    found = {}
    for name, make in layers().items():
        found[name] = one(make)
        print(name, found[name], flush=True)
    (svg,) = page.svgs([picture(found)])
    (page.DOCS / "cells.svg").write_text(svg, encoding="utf-8")
    shown = "![How far back every cell reaches at its start](cells.svg)"
    parts = [WORDS, shown, table(found), COLUMNS, f"Measured with {named()}.", KERNELS, INITIALISATIONS]
    (page.DOCS / "cells.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
