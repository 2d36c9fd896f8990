"""What an examination takes of memory, measured as what its process has at most."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime import budget
from throughtime.capture import ExaminationError

MIB = 2**20
STATUS = Path("/proc/self/status")
# A process of its own. Whatever is loaded and compiled at first use is so before it is measured.
MEASURED = """
import ctypes, gc, json, sys
import torch
from torch import nn
import throughtime as tt

def status(name):
    with open("/proc/self/status") as told:
        return next(int(line.split()[1]) * 1024 for line in told if line.startswith(name))

class Loop(nn.Module):
    def __init__(self, features, hidden):
        super().__init__()
        self.reads, self.goes_on = nn.Linear(features, hidden), nn.Linear(hidden, hidden)

    def forward(self, inputs):
        hidden, found = torch.zeros(inputs.shape[1], self.goes_on.in_features), []
        for x in inputs:
            hidden = torch.tanh(self.reads(x) + self.goes_on(hidden))
            found.append(hidden)
        return torch.stack(found), hidden

kind, hidden, layers, steps, batch, asked, budgets, times = json.loads(sys.argv[1])
torch.manual_seed(0)
model = Loop(8, hidden) if kind == "loop" else getattr(nn, kind)(8, hidden, num_layers=layers)

def examination(steps, **keywords):
    inputs = torch.randn(steps, batch, 8, generator=torch.Generator().manual_seed(0))
    return tt.examine(model, inputs, loss=lambda output, _: output[0].square().sum((1, 2)), **keywords)

torch.set_num_threads(1)
examination(min(steps, 180))
if not budgets:
    try:
        examination(steps, memory=1, **asked)
    except tt.ExaminationError as refused:
        budgets = [int(times * int(str(refused).partition("at least ")[2].split()[0]))]
found = []
for memory in budgets:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")
    before = status("VmRSS:")
    exam = examination(steps, memory=memory, **asked)
    norm = float(exam[exam.recurrences[0]].gradient_map.sel(state="h")[-1, -2])
    found.append({"memory": memory, "peak": status("VmHWM:") - before, "norm": norm})
    del exam
print(json.dumps(found))
"""


def measured(kind, hidden, layers, steps, batch, asked, budgets, times=1.0):
    """In a process of its own, by budget; where none is given, so many times the least there is."""
    arguments = json.dumps([kind, hidden, layers, steps, batch, asked, budgets, times])
    command = [sys.executable, "-c", MEASURED, arguments]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not STATUS.exists(), reason="Linux alone tells what a process has at most")
def test_the_process_stays_within_its_budget():
    """Within 20 %, and with more room it takes more."""
    budgets = [60 * MIB, 100 * MIB, 400 * MIB]
    found = measured("GRU", 48, 2, 180, 8, {}, budgets)
    peaks = [one["peak"] for one in found]
    assert all(peak < 1.2 * memory for peak, memory in zip(peaks, budgets, strict=True)), peaks
    assert peaks[0] < peaks[1] < peaks[2], peaks
    for one in found:
        assert one["norm"] == pytest.approx(found[-1]["norm"], rel=1e-4)


@pytest.mark.skipif(not STATUS.exists(), reason="Linux alone tells what a process has at most")
@pytest.mark.parametrize(
    "kind, hidden, steps, batch, asked, times",
    [
        pytest.param("RNN", 64, 800, 64, {"loss_steps": 4}, 1.0, id="large batch"),
        pytest.param("GRU", 768, 60, 4, {"loss_steps": 4}, 1.0, id="large weights"),
        pytest.param("LSTM", 64, 20000, 2, {"loss_steps": 4, "max_lag": 200}, 1.0, id="long"),
        # The least is enough for a single source at a time.
        pytest.param("RNN", 16, 1500, 2, {"loss_steps": 1500}, 1.2, id="large map"),
        pytest.param("loop", 96, 300, 8, {"loss_steps": 4}, 1.0, id="loop"),
    ],
)
def test_it_stays_within_little_more_than_the_least_budget(kind, hidden, steps, batch, asked, times):
    """Within 20 %, whatever is the largest of all that it holds."""
    (found,) = measured(kind, hidden, 1, steps, batch, asked, [], times)
    assert found["peak"] < 1.2 * found["memory"], found


def test_too_little_is_refused_before_any_source_is_followed():
    layer, inputs, seen = nn.GRU(2, 16), torch.randn(100, 4, 2), []

    def examined(memory):
        return tt.examine(
            layer,
            inputs,
            loss=lambda output, _: output[0].square().sum((1, 2)),
            memory=memory,
            on_progress=lambda done, *_: seen.append(done),
        )

    with pytest.raises(
        ExaminationError, match=r"memory: found 1 MiB, but at least (\d+) bytes .* 100 losses"
    ) as refused:
        examined(MIB)
    assert not any(seen)
    for remedy in ("loss_steps", "max_lag", "smaller batch"):
        assert remedy in str(refused.value)
    least = int(str(refused.value).partition("at least ")[2].split()[0])
    with pytest.raises(ExaminationError, match="memory: found"):
        examined(least - MIB)
    # What the message names is enough.
    assert examined(least)["l0"].sizes["loss_step"] == 100


def test_fewer_losses_need_less():
    layer, inputs = nn.GRU(2, 16), torch.randn(300, 4, 2)

    def least(**keywords):
        with pytest.raises(ExaminationError, match="memory: found 0 MiB") as refused:
            tt.examine(layer, inputs, loss=lambda output, _: output[0].square().sum((1, 2)), memory=1, **keywords)
        return int(str(refused.value).partition("at least ")[2].split()[0])

    assert max(least(loss_steps=10), least(loss_steps=100, max_lag=20)) < least()


def test_what_the_machine_has_left_is_the_budget_by_default(monkeypatch):
    monkeypatch.setattr(budget, "_available", lambda device: MIB)
    with pytest.raises(ExaminationError, match="this machine has 1 MiB left"):
        tt.examine(nn.GRU(2, 16), torch.randn(200, 4, 2), loss=lambda output, _: output[0].square().sum((1, 2)))


def test_where_nothing_is_known_of_the_machine_nothing_is_refused(monkeypatch):
    monkeypatch.setattr(budget, "_available", lambda device: None)
    exam = tt.examine(nn.GRU(2, 3), torch.randn(9, 2, 2), loss=lambda output, _: output[0].square().sum((1, 2)))
    assert exam["l0"].sizes["loss_step"] == 9
