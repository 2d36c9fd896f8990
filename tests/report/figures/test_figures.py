import math
from dataclasses import replace

import numpy as np
import pytest

from throughtime.report.figures.blocks import block_maximum, centres, on_every_step, rounded
from throughtime.report.figures.causes_by_lag import accumulated, causes_by_lag, whole_span
from throughtime.report.figures.drawing import figure, lag_axis, row_names, with_room_for_legend
from throughtime.report.figures.gradient_map import gradient_map
from throughtime.report.figures.gradient_share import gradient_share
from throughtime.report.figures.lag_profile import lag_profile
from throughtime.report.figures.mean_causes import mean_causes
from throughtime.report.figures.step_jacobian import step_jacobian
from throughtime.report.figures.time_constants import _ticks, time_constants
from throughtime.report.figures.truncation_error import truncation_error
from throughtime.report.readings import readings
from throughtime.report.scale import Scale

SCALE = Scale(-8.0, 0.0)


def reading_of(exam):
    (reading,) = readings({"": exam})
    return reading


def test_a_map_shows_nats_and_leaves_out_zero(linear):
    figure = gradient_map(reading_of(linear(0.5)), "h", SCALE)
    (heatmap,) = figure.data
    assert list(heatmap.z[1][:3]) == pytest.approx([2 * math.log(0.5), math.log(0.5), 0.0], rel=1e-3)
    assert heatmap.z[1][3] is None
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-8.0, 0.0)
    assert "nats" in figure.layout.coloraxis.colorbar.title.text


def test_what_was_not_computed_is_drawn_apart_from_zero(linear):
    exam = linear(0.5)
    exam["l0"]["gradient_map"][0, -1, 0] = np.nan
    _, blank = gradient_map(reading_of(exam), "h", SCALE).data
    assert blank.meta == {"looks": "not computed"}
    assert np.isfinite(np.array(blank.z, dtype=float)).sum() == 1


def test_a_large_map_is_shown_in_blocks(linear):
    figure = gradient_map(reading_of(linear(0.99, steps=900)), "h", SCALE)
    assert figure.layout.meta["block"] == [3, 3]
    assert len(figure.data[0].z) == 300


def test_a_block_has_its_largest_value():
    values = np.array([[1.0, 2.0, -np.inf], [np.nan, 0.0, -np.inf], [np.nan, np.nan, 5.0]])
    largest = block_maximum(values, (2, 2))
    np.testing.assert_array_equal(largest, [[2.0, -np.inf], [np.nan, 5.0]])
    assert centres(np.array([1, 2, 3]), 2) == [1.5, 3.0]


def test_four_digits_are_kept():
    assert rounded(np.array([[-12.34567, 0.0, -np.inf, 1e-7 / 3]])) == [[-12.35, 0.0, None, 3.333e-08]]


def test_profiles_are_straight_and_end_in_the_reach(linear):
    figure = lag_profile(readings({"half": linear(0.5)}))
    line, reach = figure.data
    assert np.diff(line.y) == pytest.approx([math.log(0.5)] * 12)
    # A window of 6 steps keeps the lags 0 to 5.
    assert (reach.x[0], reach.y[0]) == (5, pytest.approx(5 * math.log(0.5)))


def test_shares_add_up(linear):
    share, total, reach = gradient_share(readings({"half": linear(0.5)})).data
    assert sum(share.y) == pytest.approx(1)
    assert total.y[-1] == pytest.approx(1)
    assert reach.x[0] == 5


def test_causes_add_up_to_the_profile(linear):
    reading = reading_of(linear(0.5))
    lags, totals = accumulated(reading)
    assert list(lags) == list(range(13))
    assert totals["weights"] == pytest.approx(lags * math.log(0.5))
    line = causes_by_lag(reading, whole_span([reading])).data[-1]
    assert line.y[-1] == pytest.approx(12 * math.log(0.5))


def test_causes_end_where_the_gradient_is_zero(linear):
    exam = linear(0.5)
    exam.causes("l0")["nats_by_lag"][1, 3:] = -np.inf
    assert list(accumulated(reading_of(exam))[0]) == [0, 1, 2, 3]


def test_causes_on_an_uneven_grid_stand_for_the_lags_up_to_the_next(linear):
    reading = reading_of(linear(0.5))
    uneven = replace(reading, causes=reading.causes.isel(lag=[0, 1, 2, 6]))
    lags, totals = accumulated(uneven)
    assert list(lags) == [0, 1, 2, 6, 7]
    assert totals["weights"] == pytest.approx(lags * math.log(0.5))


def test_step_jacobians_with_their_range(lossless):
    exam = lossless(0.5)
    exam["l0"]["step_jacobian"][0, :, 1] = 0.0
    exam["l0"]["step_jacobian"][0, 3, 0] = -np.inf
    band, line, _, mean = step_jacobian(readings({"half": exam, "loss": lossless(0.25)})).data[:4]
    assert line.y[0] == pytest.approx(math.log(0.5) / 2)
    assert np.isnan(line.y[3]) and len(band.x) == 22
    assert min(band.y) == pytest.approx(math.log(0.5)) and max(band.y) == 0
    assert mean.y[0] == pytest.approx(math.log(0.5) - 1) and mean.visible == "legendonly"


def test_time_constants_are_parts_of_all_units(lossless, linear):
    (line,) = time_constants(readings({"half": lossless(0.5), "no gate": linear()})).data
    # Of six units, one holds for ever, one grows, one is not defined.
    assert line.x[:4] == pytest.approx([-1 / math.log(0.5)] * 2 + [10, 100])
    assert line.y == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 3 / 6])


@pytest.mark.parametrize(
    ("ends", "ticks"),
    [
        ((1.05, 1.9), [1.2, 1.4, 1.6, 1.8]),
        ((7, 7.1), [7, 7.1]),
        ((0.5, 30), [0.5, 1, 2, 5, 10, 20]),
        ((0.05, 2e4), [0.1, 1, 10, 100, 1000, 10000]),
        ((3e9, 4e9), [3.2e9, 3.4e9, 3.6e9, 3.8e9]),
    ],
)
def test_ticks_are_round(ends, ticks):
    found = _ticks(*(math.log10(end) for end in ends))
    assert set(ticks) <= set(found) and len(found) <= 12


def test_means_are_per_step(linear):
    figure = mean_causes(readings({"half": linear(0.5)}))
    bars = {bar.name: bar.x[0] for bar in figure.data}
    assert bars["weights"] == pytest.approx(math.log(0.5))
    assert bars["activation slope"] == 0


def test_columns_at_some_steps_stand_where_they_belong():
    values = np.array([[1.0, 2.0, 3.0]])
    nats, middles, block = on_every_step(values, np.array([4, 5, 8]))
    np.testing.assert_array_equal(nats, [[1.0, 2.0, np.nan, np.nan, 3.0]])
    assert (list(middles), block) == ([4, 5, 6, 7, 8], 1)
    nats, middles, block = on_every_step(values, np.array([1, 2, 800]))
    assert (nats.shape, nats[0, 0], nats[0, -1], list(middles[:2]), block) == ((1, 400), 2.0, 3.0, [1.5, 3.5], 2)


def test_a_map_of_some_states_has_a_place_for_all(linear):
    exam = linear(0.5, losses=[2, 4, 6, 8, 12])
    measures = exam["l0"].sel(state_step=[1, 2, 3, 4, 11, 12])
    heatmap, blank = gradient_map(replace(reading_of(exam), measures=measures), "h", SCALE).data
    assert list(heatmap.x) == list(range(1, 13))
    assert list(heatmap.z[0][:2]) == pytest.approx([math.log(0.5), 0.0], rel=1e-3)
    assert list(heatmap.z[0][2:]) == [None] * 10
    # What comes after a loss is exactly zero; what comes before it without a column was not computed.
    assert np.isfinite(blank.z).sum(axis=1).tolist() == [0, 0, 2, 4, 6]


def test_the_reach_stands_on_the_line_where_no_more_was_followed(linear):
    exam = linear(0.5)
    measures = exam["l0"].sel(lag=slice(0, 4))
    figure = lag_profile([replace(reading_of(exam), measures=measures)])
    (diamond,) = [trace for trace in figure.data if trace.mode == "markers"]
    assert (diamond.x[0], diamond.y[0]) == (4, pytest.approx(4 * math.log(0.5)))


@pytest.mark.parametrize("names", [["gru.l0"], ["gru.l0", "gru.l1"], ["a" * 60]])
def test_a_legend_of_a_row_takes_no_room(names):
    drawn = figure(400, showlegend=True)
    for name in names:
        drawn.add_scatter(y=[1], name=name)
    assert with_room_for_legend(drawn).layout.height == 400


def test_rows_of_a_legend_do_not_take_the_picture_its_height():
    drawn = figure(400, showlegend=True)
    for name in range(6):
        drawn.add_scatter(y=[1], name=f"{name}{'n' * 60}")
    higher = with_room_for_legend(drawn).layout.height
    assert higher == 400 + 5 * 29
    hidden = figure(400, showlegend=False).add_traces(drawn.data)
    assert with_room_for_legend(hidden).layout.height == 400


def lines(drawn):
    """The ends of the lines over a map, white ones and the one that lags are counted from, as points (i, t)."""
    paths = [
        shape.path for shape in drawn.layout.shapes if shape.type == "path" and shape.line.color != "rgba(0,0,0,0.45)"
    ]
    return [[tuple(map(int, point.split(","))) for point in path[1:].split("L")] for path in paths]


def test_lines_over_a_map_go_where_lags_are_counted_from(linear):
    exam = linear(0.5)
    reading = reading_of(exam)
    # The reach is 6: lags 0 to 5.
    assert lines(gradient_map(reading, "h", SCALE)) == [[(1, 1), (12, 12)], [(1, 6), (7, 12)]]
    at_the_end = exam["l0"].assign(counted_from=("loss_step", np.full(12, 12)))
    found = lines(gradient_map(replace(reading, measures=at_the_end), "h", SCALE))
    assert found == [[(12, 1), (12, 12)], [(7, 1), (7, 12)]]
    # Losses that send nothing have no lags.
    masked = exam["l0"].copy(deep=True)
    masked["gradient_map"][:, 8:] = -np.inf
    found = lines(gradient_map(replace(reading, measures=masked), "h", SCALE))
    assert found == [[(1, 1), (8, 8)], [(1, 6), (3, 8)]]


def test_lags_are_named_by_the_direction_of_reading(linear):
    forward, reverse = reading_of(linear(0.5)), reading_of(linear(0.5, reverse=True))
    assert lag_axis([forward])["title"] == "lag t − i, in steps"
    assert lag_axis([reverse])["title"] == "lag i − t, in steps"
    assert lag_axis([forward, reverse])["title"] == "lag t − i, reverse i − t, in steps"


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["encoder.l0", "encoder.l1"], ["encoder.l0", "encoder.l1"]),
        (
            ["encoder.blocks.0.temporal_mixer.layer.l0", "encoder.blocks.1.temporal_mixer.layer.l0"],
            ["encoder.blocks.0.…", "encoder.blocks.1.…"],
        ),
        (
            ["the.very.same.long.way.down.to.a.layer.l0", "the.very.same.long.way.down.to.a.layer.l1"],
            ["…l0", "…l1"],
        ),
        (
            ["a.single.name.that.is.much.too.long.l0"],
            ["a.single.….much.too.long.l0"],
        ),
    ],
)
def test_beside_a_row_stands_what_tells_its_name_from_others(linear, labels, names):
    found = row_names([replace(reading_of(linear()), label=label) for label in labels])
    assert found == names and max(map(len, found)) <= 28


def test_a_line_that_ends_in_nothing_leads_to_the_diamond(linear):
    exam = linear(0.5)
    exam["l0"]["truncation_error"][:] = np.where(np.arange(13) < 12, 0.5, 0.0)
    line, diamond = truncation_error([reading_of(exam)]).data
    assert (line.y[10], line.y[11], diamond.x[0], diamond.y[0]) == (0.5, pytest.approx(0.01), 12, pytest.approx(0.01))


def test_what_training_cuts_has_a_line(linear):
    exam = linear(0.5)
    exam["l0"].attrs |= {"window": 5, "window_error": 0.2, "detached_error": 0.0}
    _, cut, _ = truncation_error([reading_of(exam)]).data
    assert (cut.name, *cut.y) == ("l0, cut after every 5 steps", 0.2, 0.2)
