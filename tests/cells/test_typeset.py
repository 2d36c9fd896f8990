"""The LaTeX of every cell: typesets, and names what the numbers are made of."""

import re

import pytest
from latex2mathml.converter import convert

from throughtime.cells import ALL_CELLS, GRU, LSTM, RNN, Cell, Gated, derive, equations, path_formulas
from throughtime.notation import CANDIDATE, CARRY, KEEP_GATE, OUTPUT_GATE, WRITE_GATE


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_everything_typesets(cell: Cell) -> None:
    lines = [*equations(cell), *path_formulas(cell).values()]
    assert len(lines) == len(cell.states) + len(derive(cell).path_names) + len(cell.states) - 1
    for latex in lines:
        assert latex and latex.count("{") == latex.count("}")
        mathml = convert(latex)
        # What the converter does not know it passes on as text with its backslash.
        assert mathml.startswith("<math") and "\\" not in mathml


@pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
def test_every_gate_is_named_by_its_weights(cell: Cell) -> None:
    text = " ".join(equations(cell))
    for gate in cell.gates:
        subscript = gate if len(gate) == 1 else rf"\,\mathrm{{{gate}}}"
        entering = {"dense": f"W_{{h{subscript}}} h_{{t-1}}", "diagonal": rf"w_{{h{subscript}}} \odot"}
        names = [f"W_{{i{subscript}}} x_t", f"b_{{i{subscript}}}"]
        for name in [*names, *([entering[cell.enters]] if gate in cell.entered else [])]:
            assert name in text
    for name in cell.units:
        assert rf"w_{{\,\mathrm{{{name}}}}}" in text
    assert not re.search(r"x_[a-z]\b(?<!x_t)|u_[a-z]|before|after|slope", text)


def test_gated_cells_show_the_four_paths() -> None:
    paths = (CARRY, KEEP_GATE, CANDIDATE, WRITE_GATE)
    assert tuple(path_formulas(Gated())) == tuple(path_formulas(GRU())) == paths
    assert tuple(path_formulas(LSTM())) == (*paths, OUTPUT_GATE, "h from c")
    assert tuple(path_formulas(RNN())) == (CANDIDATE,)


def test_the_formulas_of_the_story() -> None:
    assert path_formulas(RNN()) == {CANDIDATE: r"\operatorname{diag}\left(\tanh'\left(a_{h}\right)\right) W_{hh}"}
    lstm = path_formulas(LSTM())
    assert lstm["carry"] == r"\operatorname{diag}\left(\sigma\left(a_{f}\right)\right)"
    assert lstm["keep gate"] == r"\operatorname{diag}\left(c_{t-1} \odot \sigma'\left(a_{f}\right)\right) W_{hf}"
    assert equations(LSTM())[1].startswith(r"h_t = \sigma\left(W_{ho} h_{t-1}")
    projected = equations(LSTM(), projected=True)
    assert projected[0] == equations(LSTM())[0]
    assert projected[1] == equations(LSTM())[1].replace("h_t = ", r"h_t = W_{hr} \left(") + r"\right)"
