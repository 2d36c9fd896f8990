"""`exam.plot`: the report's own figures, one by one."""

import math

import numpy as np
import pytest

from throughtime.report import Plots
from throughtime.report.pictures import ALONE, TOGETHER

UNITS = ("nats", "step", "%")


def test_there_is_a_method_for_every_picture():
    assert {name for name in vars(Plots) if not name.startswith("_")} == {*ALONE, *TOGETHER}


def test_a_map_stands_for_itself(linear):
    figure = linear(0.5, output=True).plot.gradient_map("l0", "c")
    assert figure.layout.title.text == "Gradient map: l0, dl/dc"
    assert figure.layout.coloraxis.showscale
    assert figure.layout.coloraxis.cmin == pytest.approx(12 * math.log(0.5))


def test_of_no_name_all_are_drawn(stacked):
    exam = stacked(0.5, 0.9)
    assert {trace.name for trace in exam.plot.lag_profile().data if trace.name} == {"l0", "l1"}
    (line,) = [trace for trace in exam.plot.lag_profile("l1").data if trace.name]
    assert np.diff(line.y) == pytest.approx([math.log(0.9)] * 12)
    assert exam.plot.lag_profile("l1").layout.title.text == "Lag profile: l1"


def test_causes_name_themselves_in_a_legend(linear):
    figure = linear(0.5).plot.causes("l0")
    assert figure.layout.showlegend
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["weights", "all causes"]


def test_what_is_not_there_is_said(linear):
    plot = linear().plot
    with pytest.raises(KeyError, match=r"recurrence: expected one of \['l0'\], found 'l7'"):
        plot.lag_profile("l7")
    with pytest.raises(KeyError, match=r"state: 'l0' has \['h'\], found 'c'"):
        plot.gradient_map("l0", "c")
    with pytest.raises(ValueError, match="time_constants: nothing of it was measured of l0"):
        plot.time_constants()


def test_every_axis_has_its_unit(everything):
    plot = everything.plot
    figures = [getattr(plot, name)() for name in TOGETHER] + [getattr(plot, name)("l0") for name in ALONE]
    for figure in figures:
        axes = [*figure.select_xaxes(), *figure.select_yaxes()]
        titles = [axis.title.text for axis in axes if axis.title.text]
        assert len(titles) >= len(axes) - 1  # bars stand at names, which need no unit
        assert all(any(unit in title for unit in UNITS) for title in titles), titles
