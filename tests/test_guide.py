"""The guide runs: every example by itself, and every refusal with its message."""

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import throughtime as tt
from pages import ROOT, anchor, blocks, broken_links, unknown_commands

GUIDE = ROOT / "docs" / "bring-your-model.md"
TEXT = GUIDE.read_text(encoding="utf-8")
FIRST, *EXAMPLES = blocks(GUIDE, "python")


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # by what torch.compile imports
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.section}, line {example.line}")
def test_an_example_runs_and_prints_what_it_says(example, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "guide"}
    FIRST.run(namespace)
    example.run(namespace)
    expected = re.findall(r"^print\(.*\)  # (.+)$", example.code, flags=re.MULTILINE)
    assert expected
    assert capsys.readouterr().out.splitlines() == expected


def test_what_it_names_exists() -> None:
    assert broken_links(GUIDE) == []
    assert unknown_commands(GUIDE) == []


def test_the_table_leads_to_every_section() -> None:
    table = TEXT[: TEXT.index("```python")]
    assert {anchor(example.section) for example in EXAMPLES} == set(re.findall(r"\]\(#([\w-]+)\)", table))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.gru, self.readout = nn.GRU(3, 8), nn.Linear(8, 1)

    def forward(self, inputs):
        return self.readout(self.gru(inputs)[0])


CALLS = itertools.count(1)


class Counting(Model):
    def forward(self, inputs):
        return super().forward(inputs) * next(CALLS)


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.readout = torch.jit.script(nn.GRUCell(3, 8)), nn.Linear(8, 1)

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(inputs.shape[1], 8), []
        for x in inputs.unbind(0):
            h = self.cell(x, h)
            outputs.append(self.readout(h))
        return torch.stack(outputs)


class Detached(Model):
    def forward(self, inputs):
        return self.readout(self.gru(inputs)[0].detach())


def per_step(output, targets):
    return (output - targets).square().sum((1, 2))


def examined(model, loss=per_step, **keywords) -> Callable[[], object]:
    return lambda: tt.examine(model, torch.randn(20, 4, 3), torch.zeros(20, 4, 1), loss, **keywords)


def changed(change: Callable[[Model], object]) -> Model:
    model = Model()
    change(model)
    return model


REGULARISED = Model()
# In the order of the table.
REFUSED = [
    examined(Model().bfloat16()),
    examined(Model().to("meta")),
    examined(changed(lambda model: model.gru.weight_hh_l0.data[0].fill_(0)[0].fill_(torch.nan))),
    examined(Model(), lambda output, targets: (output * 0).sum((1, 2)).sqrt()),
    lambda: examined(Scripted())(),
    examined(Counting()),
    examined(
        REGULARISED,
        lambda output, targets: per_step(output, targets) + REGULARISED.gru.weight_hh_l0.square().sum(),
    ),
    examined(Model(), lambda output, targets: (output - targets).square().sum(2)),
    examined(Model(), lambda output, targets: (output - targets).square().sum((0, 2))),
    examined(Detached()),
    examined(Model(), recurrence="readout"),
    examined(nn.Linear(3, 1), lambda output, targets: output.square().sum()),
]
MESSAGES = re.findall(r"^\| `(.+?)` \|", TEXT.partition("## What is refused")[2], flags=re.MULTILINE)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
@pytest.mark.parametrize(("message", "refused"), list(zip(MESSAGES, REFUSED, strict=True)), ids=MESSAGES)
def test_what_is_refused_says_so(message: str, refused: Callable[[], object]) -> None:
    with pytest.raises(tt.ExaminationError, match="^" + ".+".join(map(re.escape, message.split("…")))):
        refused()
