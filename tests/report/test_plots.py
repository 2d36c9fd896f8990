"""`exam.plot`: the report's own figures, one by one."""

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime.report import Plots
from throughtime.report.pictures import PICTURES
from throughtime.report.readings import readings

UNITS = ("nats", "step", "%", "direction", "no unit", "number")
ALONE = [name for name, picture in PICTURES.items() if picture.panels]

NAMED = ("overview", "mean_causes", "gates", "padding", "rates")  # their rows are recurrences or gates


def test_there_is_a_method_for_every_picture():
    assert {name for name in vars(Plots) if not name.startswith("_")} == set(PICTURES)


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


class Written(nn.Module):
    """A loop written out, with parameters of its own names."""

    def __init__(self):
        super().__init__()
        self.read, self.recurrent = nn.Linear(2, 3), nn.Linear(3, 3)

    def step(self, x, h):
        return torch.tanh(self.read(x) + self.recurrent(h))

    def forward(self, inputs):
        h, outputs = inputs.new_zeros(inputs.shape[1], 3), []
        for x in inputs:
            h = self.step(x, h)
            outputs.append(h)
        return torch.stack(outputs)


@pytest.mark.parametrize(
    ("model", "weights"),
    [
        (Written, {"read.weight", "read.bias", "recurrent.weight", "recurrent.bias"}),
        (lambda: tt.PeepholeLSTM(2, 3), {"weight_ih", "weight_hh", "bias_ih", "weight_ci", "weight_cf", "weight_co"}),
    ],
)
def test_weights_of_any_name_are_reported(model, weights):
    torch.manual_seed(0)
    loss = lambda output, _: (output[0] if isinstance(output, tuple) else output).square().sum((1, 2))  # noqa: E731
    exam = tt.examine(model(), torch.randn(12, 4, 2), loss=loss)
    (name,) = exam.recurrences
    (reading,) = readings({"": exam})
    assert weights <= set(exam.relative_errors(name)) == set(reading.relative_errors)
    assert all(error < 1e-5 for error in reading.relative_errors.values())
    assert "add up to .grad within" in reading.checked
    assert set(json.loads(exam.to_json())["recurrences"][name]["weights"]) == set(reading.relative_errors)
    assert exam.plot.gradient_share(name).data[0].y.sum() == pytest.approx(1)


def test_a_name_with_a_slash_is_saved(tmp_path):
    class Slashed(Written):
        def __init__(self):
            super().__init__()
            self.register_parameter("a/b", nn.Parameter(torch.randn(3)))

        def step(self, x, h):
            return super().step(x, h) * self._parameters["a/b"]

    exam = tt.examine(Slashed(), torch.randn(9, 4, 2), loss=lambda output, _: output.square().sum((1, 2)))
    exam.save(tmp_path / "exam.nc")
    again = tt.load(tmp_path / "exam.nc")
    assert again.to_json() == exam.to_json()
    assert "a/b" in again.relative_errors("step")


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
    for name in PICTURES:
        figure = getattr(plot, name)(*["l0"] * (name in ALONE))
        axes = [*figure.select_xaxes(), *figure.select_yaxes()]
        for axis in axes:
            if axis.title.text is None:  # bars and rows stand at names, which need no unit
                assert name in NAMED and axis.plotly_name.startswith("yaxis")
            else:
                assert any(unit in axis.title.text for unit in UNITS), (name, axis.title.text)


def values(figure, name=None, axis="y"):
    (trace,) = [trace for trace in figure.data if trace.mode and trace.yaxis in (axis, None) and trace.name == name]
    return np.asarray(trace.y, dtype=float)


def test_memory_and_gradient_start_at_zero_on_one_scale(everything):
    figure = everything.plot.forward_memory()
    assert figure.layout.yaxis2.matches == "y"
    for trace in figure.data:
        assert np.asarray(trace.y) == pytest.approx(np.arange(13) * math.log(0.5))


def test_a_window_costs_the_terms_beyond_it(everything):
    figure = everything.plot.truncation_error()
    error = everything["l0"]["truncation_error"].values[1:]
    assert values(figure, "l0")[error > 1e-5] == pytest.approx(error[error > 1e-5])
    (reach,) = [trace for trace in figure.data if trace.mode == "markers"]
    assert (reach.x[0], reach.y[0]) == (6, pytest.approx(error[5]))


def test_a_window_that_keeps_everything_has_its_diamond_too(linear):
    exam = linear(1.0)
    exam["l0"]["truncation_error"][:-1] = 0.5
    (reach,) = [trace for trace in exam.plot.truncation_error().data if trace.mode == "markers"]
    assert (reach.x[0], reach.y[0]) == (12, pytest.approx(0.01))


def test_exponents_have_their_interval(everything):
    (trace,) = everything.plot.lyapunov().data
    assert trace.y[0] == pytest.approx(math.log(0.5))
    assert trace.error_y.array[0] == pytest.approx(1.96 * 0.01)


def test_singular_values_and_the_rank(everything):
    largest, rank = everything.plot.singular_values("l0").data
    assert np.asarray(largest.y) == pytest.approx(np.array([1, 2, 4, 8]) * math.log(0.5))
    assert np.asarray(rank.y) == pytest.approx(1)


def test_gates_are_boxes_of_their_quantiles(everything):
    box, bar, slope, dead = everything.plot.gates("l0").data
    assert [box.lowerfence[0], box.q1[0], box.median[0], box.q3[0], box.upperfence[0]] == [0.3, 0.4, 0.5, 0.6, 0.7]
    assert (bar.x[0], bar.y[0]) == (0.5, "keep")
    assert (slope.x[0], dead.x[0]) == (0.25, 0.125)


def test_units_stand_in_the_order_of_their_largest_value(everything):
    low, high, written_low, written_high = everything.plot.gate_range("l0").data
    assert list(high.y) == [0.1, 0.7, 0.8, 0.9, 0.9, 1] and list(low.y) == [0, 0.1, 0.2, 0.4, 0.5, 0.6]
    assert list(written_high.y) == [0.5] * 6 and list(written_low.y) == [0] * 6
    assert (high.yaxis, written_high.yaxis) == ("y", "y2")


def test_every_sample_is_a_line_and_their_median_one_more(everything):
    *samples, median = everything.plot.sample_profile("l0").data
    assert len(samples) == 2
    assert np.asarray(samples[-1].y) == pytest.approx(np.arange(13) * math.log(2))  # the one that grows most comes last
    assert np.asarray(median.y) == pytest.approx(0)


def test_padding_has_its_part_of_steps_and_of_the_gradient(everything):
    steps, gradient = everything.plot.padding().data
    assert (steps.x[0], gradient.x[0]) == (0.5, 0.75)


def test_as_much_signal_as_noise_is_half_of_it(everything):
    shared = values(everything.plot.signal_to_noise(), "l0")
    assert list(shared) == [100.0] * 4 + [50.0] * (len(shared) - 4)


def test_the_total_derivative_is_joined_where_it_was_taken(everything):
    figure = everything.plot.direct_derivative()
    total, direct = figure.data
    assert (total.name, direct.name, direct.showlegend) == ("l0", "l0", False)
    assert direct.y == pytest.approx(0)
    assert len(total.y) == 6 and total.y[0] == pytest.approx(math.log(2), abs=1e-3)


def test_the_overview_has_a_row_for_every_recurrence(stacked):
    exam = stacked(0.5, 0.9)
    rows, reaches = exam.plot.overview().data
    assert np.asarray(rows.z, dtype=float)[:, 1] == pytest.approx([math.log(0.5), math.log(0.9)], rel=1e-3)
    assert list(rows.y) == ["l0", "l1"]
    assert list(reaches.x) == [reach - 1 for reach in exam.reach(0.99).values()] == [5, 8]


def test_only_what_is_zero_is_called_zero(linear):
    assert "exactly zero" in str(linear(0.5).plot.gradient_map("l0").layout.annotations)
    exam = linear(0.5)  # as below a layer that reads the sequence the other way: losses depend on later states, too
    exam["l0"]["gradient_map"][:] = 0.0
    assert not exam.plot.gradient_map("l0").layout.annotations


def test_what_the_models_own_cuts_cost_is_a_line(everything):
    everything["l0"].attrs["detached_error"] = 0.25
    figure = everything.plot.truncation_error()
    assert list(values(figure, "l0, as the model cuts it")) == [0.25, 0.25]
    assert figure.layout.showlegend


def test_the_estimates_of_the_decay_stand_side_by_side(everything):
    points = {trace.name: trace for trace in everything.plot.rates().data}
    assert [trace.x[0] for trace in points.values()] == pytest.approx([math.log(0.5)] * 3 + [0.1, -0.2, 0.3])
    assert points["largest Lyapunov exponent"].error_x.array[0] == pytest.approx(0.0196)


def test_the_band_of_a_window_ends_at_the_smallest_error_that_is_drawn(everything):
    everything["l0"]["truncation_error_interval"][:, 0] = 0.0
    (band,) = [trace for trace in everything.plot.truncation_error().data if trace.fill == "toself"]
    error = everything["l0"]["truncation_error"].values
    assert min(band.y) == pytest.approx(error[error > 1e-5].min())


def test_the_elasticity_of_every_loss_is_drawn(everything):
    assert values(everything.plot.elasticity(), "l0") == pytest.approx(-np.arange(1, 13))
