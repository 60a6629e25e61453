"""Pictures are drawn without a screen, and what was drawn is read back from the axes."""

from __future__ import annotations

import warnings
from itertools import pairwise

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from pymer4.errors import DataError, OptionError
from pymer4.plots import axes as axes_module
from pymer4.plots import forest as forest_module
from pymer4.plots.forest import forest
from pymer4.plots.groups import caterpillar, group_lines

B = pd.Series({"(Intercept)": 251.405, "Days": 10.467})
LOW, HIGH = np.array([238.029, 7.437]), np.array([264.781, 13.498])
GROUPS = pd.DataFrame(
    {"(Intercept)": [253.66, 211.01, 212.45, 275.10], "Days": [19.67, 1.85, 5.02, 5.65]},
    index=["308", "309", "310", "330"],
)
X = np.linspace(0, 9, 10)
CURVES = GROUPS["(Intercept)"].to_numpy()[:, None] + GROUPS["Days"].to_numpy()[:, None] * X
POPULATION = 251.405 + 10.467 * X


@pytest.fixture
def ax():
    """Axes of a figure that pyplot doesn't know."""
    return Figure(figsize=(8, 6)).subplots()


@pytest.fixture(autouse=True)
def strict():
    """Nothing may warn, and no figure may be left to the next test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


def bars(axes):
    """Return the segments of the last line collection, one (2, 2) array a bar."""
    return [c for c in axes.collections if isinstance(c, LineCollection)][-1].get_segments()


def strip(axes):
    """Return the points strewn behind the estimates as an (n, 2) array."""
    (dots,) = [c for c in axes.collections if isinstance(c, PathCollection)]
    return np.asarray(dots.get_offsets())


def labelled(axes, label):
    """Return the one line of that label."""
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def names(axes, axis="y"):
    """Return the tick labels of an axis."""
    return [tick.get_text() for tick in getattr(axes, f"get_{axis}ticklabels")()]


def drawn(axes):
    """Return every artist that a plot can add."""
    return [*axes.lines, *axes.collections, *axes.patches]


# forest


@pytest.mark.parametrize("orient", ["v", "h"])
def test_forest_draws_estimates_bars_and_zero(ax, orient):
    assert forest(B, LOW, HIGH, orient=orient, ax=ax) is ax
    zero, estimates = ax.lines
    value, term = (0, 1) if orient == "v" else (1, 0)
    np.testing.assert_array_equal(estimates.get_xydata()[:, value], B)
    np.testing.assert_array_equal(estimates.get_xydata()[:, term], [0, 1])
    np.testing.assert_array_equal([bar[:, value] for bar in bars(ax)], np.column_stack([LOW, HIGH]))
    np.testing.assert_array_equal([bar[:, term] for bar in bars(ax)], [[0, 0], [1, 1]])
    np.testing.assert_array_equal(zero.get_xydata()[:, value], [0, 0])
    assert estimates.get_linestyle() == "None" and estimates.get_marker() == "o"


def test_forest_lists_terms_from_the_top(ax):
    forest(B, LOW, HIGH, xlabel="Estimate", ylabel="Term", ax=ax)
    assert names(ax) == ["(Intercept)", "Days"]
    assert ax.get_ylim() == (1.5, -0.5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Estimate", "Term")


def test_forest_lists_terms_from_the_left_and_turns_the_labels(ax):
    forest(B, LOW, HIGH, orient="h", xlabel="Estimate", ylabel="Term", ax=ax)
    assert names(ax, "x") == ["(Intercept)", "Days"]
    assert ax.get_xlim() == (-0.5, 1.5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Term", "Estimate")


@pytest.mark.parametrize("orient", ["vertical", "V", None, 0])
def test_forest_refuses_other_orientations_before_drawing(orient):
    with pytest.raises(OptionError, match=r"orient=.* Use one of: 'v', 'h'"):
        forest(B, LOW, HIGH, orient=orient)
    assert plt.get_fignums() == []


def test_forest_limits_hold_all_that_is_drawn_and_zero(ax):
    points = GROUPS.copy()
    points.loc["337", "(Intercept)"] = 386.3
    forest(B, LOW, HIGH, points=points, ax=ax)
    np.testing.assert_allclose(ax.get_xlim(), (-0.05 * 386.3, 1.05 * 386.3), rtol=1e-12)


@pytest.mark.parametrize("orient", ["v", "h"])
def test_forest_limits_can_be_given(ax, orient):
    forest(B, LOW, HIGH, points=GROUPS, axlim=(200, 300), orient=orient, ax=ax)
    assert (ax.get_xlim() if orient == "v" else ax.get_ylim()) == (200, 300)


def test_forest_limits_are_apart_when_all_is_zero(ax):
    forest(B * 0, LOW * 0, HIGH * 0, ax=ax)
    assert ax.get_xlim() == (-1, 1)


@pytest.mark.parametrize("orient", ["v", "h"])
def test_forest_strews_points_behind_their_term(ax, orient):
    points = GROUPS.assign(other=1.0)[["other", "Days", "(Intercept)"]]
    forest(B, LOW, HIGH, points=points, orient=orient, ax=ax)
    value, place = strip(ax).T if orient == "v" else strip(ax).T[::-1]
    np.testing.assert_array_equal(value, [*GROUPS["(Intercept)"], *GROUPS["Days"]])
    np.testing.assert_array_equal(np.rint(place), np.repeat([0, 1], 4))
    assert np.abs(place - np.rint(place)).max() <= 0.35
    (dots,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert dots.get_zorder() < min(c.get_zorder() for c in [ax.lines[1], ax.collections[-1]])


def test_forest_points_may_lack_terms_or_values(ax):
    points = GROUPS[["Days"]].copy()
    points.iloc[0] = np.nan
    forest(B, LOW, HIGH, points=points, ax=ax)
    np.testing.assert_array_equal(strip(ax)[:, 0], [1.85, 5.02, 5.65])
    np.testing.assert_array_equal(np.rint(strip(ax)[:, 1]), 1)


def test_forest_points_of_other_terms_draw_nothing(ax):
    forest(B, LOW, HIGH, points=pd.DataFrame({"x": [1.0]}), ax=ax)
    assert not any(isinstance(c, PathCollection) for c in ax.collections)


def test_forest_jitter_is_the_same_each_time_in_any_order_of_groups():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    one, two, turned = (
        strip(forest(B, LOW, HIGH, points=points, ax=Figure().subplots())) for points in (GROUPS, GROUPS, GROUPS[::-1])
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one[np.lexsort(one.T)], turned[np.lexsort(turned.T)])
    np.testing.assert_array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("count, points_deep", [(18, 6 * 18**0.5), (3000, 90)])
def test_forest_strips_are_as_deep_as_their_points_need(ax, count, points_deep):
    forest(B, LOW, HIGH, points=pd.DataFrame({"Days": np.linspace(0, 20, count)}), ax=ax)
    reach = np.ptp(ax.transData.transform(strip(ax))[:, 1]) * 72 / ax.figure.dpi
    assert 0.5 * points_deep < reach <= points_deep


@pytest.mark.parametrize("values", [[], [3.0], [3.0, 3.0, 3.0], [251.0, 251.0 + 4e-14], list(range(3000))])
def test_spread_stays_within_its_row(values):
    offsets = forest_module._spread(np.asarray(values, dtype=float))
    assert offsets.shape == (len(values),)
    assert np.isfinite(offsets).all() and np.all(np.abs(offsets) <= 0.5)


@pytest.mark.parametrize("count", [18, 3000])
def test_forest_points_parts_ties_and_lightens_files(ax, count):
    points = pd.DataFrame({"Days": np.full(count, 10.0)})
    forest(B, LOW, HIGH, points=points, points_alpha=0.2, ax=ax)
    (dots,) = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert np.unique(strip(ax)[:, 1]).size == count
    assert dots.get_rasterized() == (count > axes_module.MANY)
    assert dots.get_alpha() == 0.2


def test_forest_draws_no_bar_for_nan(ax):
    forest(B, [np.nan, 7.437], [264.781, 13.498], ax=ax)
    finite = [bar for bar in bars(ax) if len(bar) == 2 and np.isfinite(bar).all()]
    np.testing.assert_array_equal(finite, [[[7.437, 1], [13.498, 1]]])
    ax.figure.canvas.draw()


def test_forest_without_any_limit_or_with_a_missing_estimate(ax):
    forest(pd.Series({"a": np.nan, "b": 2.0}), [np.nan] * 2, [np.nan] * 2, ax=ax)
    np.testing.assert_allclose(ax.get_xlim(), (-0.1, 2.1), rtol=1e-12)
    ax.figure.canvas.draw()


def test_forest_runs_infinite_limits_to_the_edge(ax):
    forest(B, [-np.inf, 7.0], [260.0, np.inf], axlim=(-10, 300), ax=ax)
    np.testing.assert_array_equal([bar[:, 0] for bar in bars(ax)], [[-10, 260], [7, 300]])


def test_forest_shows_an_interval_that_leaves_its_estimate_out(ax):
    forest(B[1:], [11.0], [12.0], ax=ax)
    np.testing.assert_array_equal(bars(ax)[0][:, 0], [11, 12])


@pytest.mark.parametrize(
    "fmt, marker, color",
    [("o", "o", axes_module.INK), ("s", "s", axes_module.INK), ("rs", "s", "#ff0000"), ("C1D", "D", "#ff7f0e")],
)
def test_forest_format_rules_marker_and_colour(ax, fmt, marker, color):
    forest(B, LOW, HIGH, fmt=fmt, ax=ax)
    assert ax.lines[1].get_marker() == marker
    assert to_hex(ax.lines[1].get_color()) == color.lower() == to_hex(ax.collections[-1].get_colors()[0])


@pytest.mark.parametrize(("fmt", "color"), [("teal", "#008080"), ("1", axes_module.INK), ("0.5", "#808080")])
def test_forest_format_may_be_a_colour_or_a_mark_that_is_a_number(ax, fmt, color):
    forest(B, LOW, HIGH, fmt=fmt, ax=ax)
    assert to_hex(ax.lines[1].get_color()) == color.lower()


@pytest.mark.parametrize("orient", ["v", "h"])
def test_a_note_of_a_forest_stands_under_the_axis_of_empty_axes(ax, orient):
    forest(B, LOW, HIGH, xlabel="b", note="Points: none", orient=orient, ax=ax)
    forest(B, LOW, HIGH, note="again", orient=orient, ax=ax)
    (text,) = ax.texts
    ax.figure.canvas.draw()
    assert text.get_text() == "Points: none"
    assert text.get_window_extent().y1 <= min(tick.get_window_extent().y0 for tick in ax.get_xticklabels())


def test_forest_format_none_draws_bars_alone(ax):
    forest(B, LOW, HIGH, fmt="none", ax=ax)
    assert len(ax.lines) == 1 and len(bars(ax)) == 2


def test_forest_shows_through_an_open_marker(ax):
    forest(B, LOW, HIGH, fmt="x", ax=ax)
    assert to_hex(ax.lines[1].get_markeredgecolor()) == axes_module.INK.lower()


def test_forest_refuses_no_term_and_odd_limits(ax):
    with pytest.raises(DataError, match="no term"):
        forest(B[:0], [], [], ax=ax)
    assert not drawn(ax)


def apart(axes, axis):
    """Check that names can be read, lie within the figure and do not overlap; return k, where every k-th is named."""
    axes.figure.canvas.draw()
    ticks = getattr(axes, f"get_{axis}ticklabels")()
    boxes, whole = [tick.get_window_extent() for tick in ticks], axes.figure.bbox
    assert min(tick.get_fontsize() for tick in ticks) >= 7
    assert min(box.x0 for box in boxes) >= -1 and min(box.y0 for box in boxes) >= -1
    assert max(box.x1 for box in boxes) <= whole.x1 + 1 and max(box.y1 for box in boxes) <= whole.y1 + 1
    if axis == "y":
        assert all(above.y0 >= below.y1 - 1 for above, below in pairwise(sorted(boxes, key=lambda box: -box.y0)))
    elif ticks[0].get_rotation() == 0:
        assert all(one.x1 <= other.x0 for one, other in pairwise(boxes))
    else:
        # Turned by half a right angle, they are apart when their lines are.
        between = np.diff([axes.transData.transform((tick.get_position()[0], 0))[0] for tick in ticks]) / 2**0.5
        assert all(gap >= 1.1 * ticks[0].get_fontsize() * axes.figure.dpi / 72 for gap in between)
    places = np.asarray(getattr(axes, f"get_{axis}ticks")())
    assert len(set(names(axes, axis))) == places.size and (np.diff(places) == np.diff(places)[:1]).all()
    return places[1] - places[0] if places.size > 1 else 1


SIZES = [(4, 3), (12, 6)]
FACTOR = "C(condition, Treatment('control'))[T.level {}]:scale(baseline_anxiety)"


@pytest.mark.parametrize("orient", ["v", "h"])
@pytest.mark.parametrize("figsize", SIZES)
@pytest.mark.parametrize("count", [1, 30, 120])
@pytest.mark.parametrize("name", ["x{}", "baseline_anxiety_of_session_{}_scaled", FACTOR])
def test_forest_names_stay_apart(name, count, figsize, orient):
    values = pd.Series(np.linspace(-1, 2, count), index=[name.format(i) for i in range(count)])
    axes = forest(
        values, values - 1, values + 1, orient=orient, figsize=figsize, xlabel="Estimate", note="Points: none."
    )
    step = apart(axes, "y" if orient == "v" else "x")
    assert step == 1 if count < 30 or (count, figsize) == (30, (12, 6)) else step > (count == 120)
    area, whole = axes.get_window_extent(), axes.figure.bbox
    # On the smallest figure, names that long leave little: shorter ones would be the same for all.
    share = 0.5 if (name, figsize) == (FACTOR, SIZES[0]) else 1.0
    assert area.width > share * 0.3 * whole.width and area.height > share * 0.2 * whole.height


@pytest.mark.parametrize("figsize", SIZES)
@pytest.mark.parametrize(
    ("count", "name"), [(3, "{}. Variety"), (6, "level {}"), (12, "behavioural therapy {}"), (40, "s{}")]
)
def test_names_beside_a_legend_stay_apart(count, name, figsize):
    curves = np.outer(np.arange(9), np.ones(count))
    levels, told = [name.format(i) for i in range(count)], "The effect does not vary between groups: parallel lines."
    axes = group_lines(
        levels, curves, labels=range(9), population=curves[4], figsize=figsize, xlabel="level", ylabel="y", note=told
    )
    apart(axes, "x")
    (note,) = axes.texts
    for box in (note.get_window_extent(), axes.get_legend().get_window_extent()):
        whole = axes.figure.bbox
        assert whole.x0 - 1 <= box.x0 and box.x1 <= whole.x1 + 1 and whole.y0 - 1 <= box.y0 and box.y1 <= whole.y1 + 1
    assert note.get_text().replace("\n", " ") == told


def test_forest_breaks_a_long_name_where_it_may(ax):
    long = "conditionTreated:timeAfterTraining:groupControl"
    forest(pd.Series({long: 1.0, "short name": 2.0}), [0, 1], [2, 3], ax=ax)
    assert names(ax) == ["conditionTreated:\ntimeAfterTraining:groupControl", "short name"]


def test_forest_takes_names_literally(ax):
    forest(pd.Series({"I(cost$ + tax$)": 1.0, 7: 2.0}), [0, 1], [2, 3], ax=ax)
    assert names(ax) == ["I(cost$ + tax$)", "7"]
    assert not any(tick.get_parse_math() for tick in ax.get_yticklabels())


# group_lines


def test_lines_few_groups_are_told_apart():
    axes = group_lines(X, CURVES, labels=GROUPS.index, population=POPULATION, xlabel="Days", ylabel="Reaction")
    for name, curve in zip(GROUPS.index, CURVES, strict=True):
        np.testing.assert_array_equal(labelled(axes, name).get_xydata(), np.column_stack([X, curve]))
    assert len({line.get_color() for line in axes.lines}) == 5
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["308", "330", "310", "309", "Population"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Days", "Reaction")
    axes.figure.canvas.draw()
    assert axes.get_legend().get_window_extent().x1 <= axes.figure.bbox.x1


@pytest.mark.parametrize("count", [8, 9, 12])
def test_up_to_twelve_lines_have_a_name_and_a_look_each(count):
    curves = np.arange(count)[:, None] + np.outer(np.ones(count), X)
    axes = group_lines(X, curves, labels=range(count), population=POPULATION)
    assert len(axes.get_legend().get_texts()) == count + 1
    looks = {(line.get_color(), str(line._dash_pattern)) for line in axes.lines}
    assert len(looks) == count + 1
    axes.figure.canvas.draw()
    box = axes.get_legend().get_window_extent()
    assert box.y0 >= 0 and box.y1 <= axes.figure.bbox.y1 and box.x1 <= axes.figure.bbox.x1


def test_lines_population_is_thick_and_on_top_of_its_band(ax):
    low, high = POPULATION - 10, POPULATION + 20
    group_lines(X, CURVES, labels=GROUPS.index, population=POPULATION, limits=(low, high), ax=ax)
    line, (band,) = labelled(ax, "Population"), [c for c in ax.collections if isinstance(c, PolyCollection)]
    np.testing.assert_array_equal(line.get_ydata(), POPULATION)
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices}
    assert {*zip(X, low, strict=True), *zip(X, high, strict=True)} <= corners
    groups = [other for other in ax.lines if other is not line]
    assert line.get_linewidth() > max(other.get_linewidth() for other in groups)
    assert line.get_zorder() > band.get_zorder() > max(other.get_zorder() for other in groups)


def test_lines_without_limits_have_no_band(ax):
    group_lines(X, CURVES, labels=GROUPS.index, population=POPULATION, ax=ax)
    assert not ax.collections and len(ax.lines) == 5


def test_lines_without_population_are_groups_alone(ax):
    group_lines(X, CURVES, labels=GROUPS.index, ax=ax)
    assert not ax.collections and len(ax.lines) == 4


def test_lines_of_the_population_alone(ax):
    group_lines(X, np.empty((0, 10)), labels=[], population=POPULATION, ax=ax)
    assert len(ax.lines) == 1 and ax.get_legend() is None


@pytest.mark.parametrize("count", [13, 18, 3000])
def test_lines_of_many_groups_are_one_artist(ax, count):
    curves = np.arange(count)[:, None] + np.outer(np.ones(count), X)
    group_lines(X, curves, labels=range(count), population=POPULATION, ax=ax)
    (bundle,) = ax.collections
    np.testing.assert_array_equal(bundle.get_segments(), np.stack(np.broadcast_arrays(X, curves), axis=-1))
    assert ax.get_legend() is None and len(ax.lines) == 1
    assert bool(bundle.get_rasterized()) == (count > axes_module.MANY)
    assert ax.get_ylim()[1] >= curves.max() and ax.get_xlim()[0] <= 0 and ax.get_xlim()[1] >= 9
    ax.figure.canvas.draw()


def test_lines_lighten_with_their_number():
    alphas = []
    for count in (13, 100, 3000):
        axes = group_lines(X, np.zeros((count, 10)), labels=range(count), ax=Figure().subplots())
        alphas.append(axes.collections[0].get_alpha())
    assert alphas == sorted(alphas, reverse=True) and alphas[-1] > 0


@pytest.mark.parametrize("count", [4, 18])
def test_lines_go_behind_what_is_there(ax, count):
    ax.scatter([0, 9], [200, 450], zorder=1)
    ax.axhline(300)
    ax.set(xlabel="mine", ylabel="also mine")
    there = drawn(ax)
    lowest = min(artist.get_zorder() for artist in there)
    curves = np.tile(CURVES, (5, 1))[:count]
    limits = {"limits": (POPULATION - 1, POPULATION + 1)}
    assert group_lines(X, curves, labels=range(count), population=POPULATION, **limits, ax=ax) is ax
    added = [artist for artist in drawn(ax) if artist not in there]
    assert len(added) == (count if count <= 8 else 1) + 2
    assert max(artist.get_zorder() for artist in added) < lowest
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mine", "also mine")
    assert ax.get_legend() is None and ax.spines["top"].get_visible()


def test_lines_go_behind_each_other(ax):
    group_lines(X, CURVES, labels=GROUPS.index, ax=ax)
    first = min(line.get_zorder() for line in ax.lines)
    group_lines(X, CURVES + 5, labels=GROUPS.index, population=POPULATION, ax=ax)
    assert max(line.get_zorder() for line in ax.lines[4:]) < first


def test_lines_join_categories(ax):
    x = ["placebo", "low", "high"]
    curves, population = CURVES[:, :3], POPULATION[:3]
    limits = {"limits": (population - 5, population + 7)}
    group_lines(x, curves, labels=GROUPS.index, population=population, **limits, ax=ax)
    np.testing.assert_array_equal(labelled(ax, "309").get_xydata(), np.column_stack([[0, 1, 2], curves[1]]))
    assert labelled(ax, "309").get_marker() == "o" and labelled(ax, "309").get_linestyle() == "-"
    assert names(ax, "x") == x
    ends = [[[i, p - 5], [i, p + 7]] for i, p in enumerate(population)]
    np.testing.assert_array_equal(bars(ax), ends)
    ax.figure.canvas.draw()


def test_lines_of_many_groups_join_and_mark_categories(ax):
    curves = np.tile(CURVES[:, :3], (5, 1))
    group_lines(pd.Series(["a", "b", "c"], dtype="category"), curves, labels=range(20), ax=ax)
    (bundle,), (marks,) = ax.collections, ax.lines
    assert len(bundle.get_segments()) == 20
    np.testing.assert_array_equal(marks.get_xdata(), np.tile([0, 1, 2], 20))
    np.testing.assert_array_equal(marks.get_ydata(), curves.ravel())


def test_lines_meet_categories_that_are_there(ax):
    ax.scatter(["high", "placebo"], [1, 2])
    group_lines(["placebo", "high", "low"], CURVES[:, :3], labels=GROUPS.index, ax=ax)
    np.testing.assert_array_equal(labelled(ax, "308").get_xdata(), [1, 0, 2])
    ax.figure.canvas.draw()
    assert names(ax, "x") == ["high", "placebo", "low"]


def test_lines_at_one_place_are_marks(ax):
    group_lines([3.0], CURVES[:, :1], labels=GROUPS.index, population=[250], limits=([240], [260]), ax=ax)
    assert {line.get_marker() for line in ax.lines} == {"o"}
    np.testing.assert_array_equal(bars(ax), [[[3, 240], [3, 260]]])


@pytest.mark.parametrize("count", [1, 18])
def test_lines_leave_gaps_for_nan(ax, count):
    curves = np.tile(CURVES[:1], (count, 1))
    curves[0, 4] = np.nan
    low = np.where(X == 9, np.nan, POPULATION - 1)
    group_lines(X, curves, labels=range(count), population=POPULATION, limits=(low, POPULATION + 1), ax=ax)
    ax.figure.canvas.draw()
    assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
    assert ax.get_ylim()[1] >= np.nanmax(curves)


def test_lines_take_labels_literally(ax):
    group_lines(X, CURVES[:2], labels=["_a$b$", 7], ax=ax)
    texts = ax.get_legend().get_texts()
    assert sorted(text.get_text() for text in texts) == ["7", "_a$b$"]
    assert not any(text.get_parse_math() for text in texts)


def test_a_note_stands_under_the_axis_of_empty_axes(ax):
    group_lines(
        X, CURVES, labels=GROUPS.index, xlabel="Days", note="Others at: a\u00a0=\u00a01, b\u00a0=\u00a0$2$", ax=ax
    )
    (text,) = ax.texts
    assert text.get_text() == "Others at: a = 1, b = $2$"
    assert not text.get_parse_math()
    ax.figure.canvas.draw()
    assert text.get_window_extent().y1 <= ax.xaxis.label.get_window_extent().y0
    group_lines(X, CURVES, labels=GROUPS.index, note="again", ax=ax)
    assert list(ax.texts) == [text]


# caterpillar


def test_caterpillar_takes_an_order(ax):
    caterpillar(GROUPS["Days"], half_width=np.ones(4), order=np.array([2, 0, 3, 1]), ax=ax)
    assert names(ax) == ["310", "308", "330", "309"]
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), GROUPS["Days"].iloc[[2, 0, 3, 1]])


def test_caterpillar_sorts_groups_and_draws_the_population(ax):
    values = GROUPS["(Intercept)"]
    caterpillar(values, population=251.4, limits=(238.0, 264.8), xlabel="(Intercept)", ylabel="Subject", ax=ax)
    line, (dots,) = labelled(ax, "Population"), ax.lines[1:]
    np.testing.assert_array_equal(dots.get_xydata(), np.column_stack([np.sort(values), range(4)]))
    assert names(ax) == ["309", "310", "308", "330"]
    assert ax.get_ylim() == (-0.5, 3.5)
    np.testing.assert_array_equal(line.get_xdata(), [251.4, 251.4])
    (band,) = ax.patches
    np.testing.assert_allclose(band.get_extents().transformed(ax.transData.inverted()).intervalx, [238.0, 264.8])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("(Intercept)", "Subject")
    assert band.get_zorder() < line.get_zorder() < dots.get_zorder()


@pytest.mark.parametrize("half", [np.array([1.0, 2.0, 3.0, 4.0])])
def test_caterpillar_bars_follow_their_groups(ax, half):
    caterpillar(GROUPS["(Intercept)"], half_width=half, ax=ax)
    width = pd.Series(half, index=GROUPS.index)
    values = GROUPS["(Intercept)"].sort_values()
    expected = np.column_stack([values - width[values.index], values + width[values.index]])
    np.testing.assert_allclose([bar[:, 0] for bar in bars(ax)], expected, rtol=1e-15)
    np.testing.assert_array_equal([bar[0, 1] for bar in bars(ax)], range(4))


def test_caterpillar_leaves_nan_groups_out(ax):
    values = GROUPS["Days"].copy()
    values["309"] = np.nan
    caterpillar(values, half_width=np.array([1.0, 1.0, np.nan, 1.0]), population=10.0, limits=(np.nan, np.nan), ax=ax)
    assert names(ax) == ["310", "330", "308"]
    assert not ax.patches
    ax.figure.canvas.draw()


def test_caterpillar_refuses_no_value_and_odd_widths(ax):
    with pytest.raises(DataError, match="No group has a value"):
        caterpillar(GROUPS["Days"] * np.nan, ax=ax)


@pytest.mark.parametrize("count", [1, 18, 3000])
def test_caterpillar_names_groups_while_it_can(count):
    axes = caterpillar(pd.Series(np.arange(count, dtype=float)), half_width=np.ones(count))
    axes.figure.canvas.draw()
    assert names(axes) == ([str(i) for i in range(count)] if count < 50 else [])
    assert axes.get_ylabel() == ("" if count < 50 else "3,000 groups")
    assert len(axes.collections) == 1
    assert bool(axes.collections[0].get_rasterized()) == (count > axes_module.MANY)


def test_caterpillar_keeps_a_label_that_is_given(ax):
    caterpillar(pd.Series(np.arange(500.0)), ylabel="School", ax=ax)
    assert ax.get_ylabel() == "School"


def test_caterpillar_goes_behind_what_is_there(ax):
    ax.plot([250, 260], [0, 1], zorder=1.5)
    values = GROUPS["(Intercept)"]
    assert caterpillar(values, population=251.4, limits=(238.0, 264.8), half_width=np.full(4, 3.0), ax=ax) is ax
    assert max(artist.get_zorder() for artist in drawn(ax)[1:]) < 1.5
    assert ax.spines["left"].get_visible()
