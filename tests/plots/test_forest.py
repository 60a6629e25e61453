"""Forests of estimates, and the groups strewn behind them."""

from __future__ import annotations

from itertools import pairwise

import artists
import numpy as np
import pandas as pd
import pytest
from artists import bars, cloud, names, points
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from pymer4.errors import DataError
from pymer4.plots.axes import INK, MANY
from pymer4.plots.forest import crowding, forest

B = pd.Series({"(Intercept)": 251.405, "Days": 10.467})
LOW, HIGH = np.array([238.029, 7.437]), np.array([264.781, 13.498])
GROUPS = pd.DataFrame({"(Intercept)": [253.66, 211.01, 212.45, 275.10], "Days": [19.67, 1.85, 5.02, 5.65]})
turns = pytest.mark.parametrize(("orient", "value", "term"), [("v", 0, 1), ("h", 1, 0)])


@turns
def test_estimates_bars_and_zero_are_drawn_term_by_term(ax, orient, value, term):
    assert forest(B, LOW, HIGH, orient=orient, ax=ax) is ax
    zero, estimates = ax.lines
    np.testing.assert_array_equal(estimates.get_xydata()[:, value], B)
    np.testing.assert_array_equal(estimates.get_xydata()[:, term], [0, 1])
    np.testing.assert_array_equal(bars(ax)[:, :, value], np.column_stack([LOW, HIGH]))
    np.testing.assert_array_equal(bars(ax)[:, :, term], [[0, 0], [1, 1]])
    np.testing.assert_array_equal(zero.get_xydata()[:, value], [0, 0])
    assert estimates.get_linestyle() == "None" and estimates.get_marker() == "o"
    assert names(ax, "xy"[term]) == ["(Intercept)", "Days"]
    assert (ax.get_ylim() == (1.5, -0.5)) if orient == "v" else (ax.get_xlim() == (-0.5, 1.5))


@pytest.mark.parametrize(
    ("b", "low", "high", "points", "ends"),
    [
        (B, LOW, HIGH, pd.DataFrame({"(Intercept)": [386.3]}), (-0.05 * 386.3, 1.05 * 386.3)),
        (B * 0, LOW * 0, HIGH * 0, None, (-1, 1)),
        (pd.Series({"a": np.nan, "b": 2.0}), [np.nan] * 2, [np.nan] * 2, None, (-0.1, 2.1)),
    ],
)
def test_the_axis_holds_all_that_is_drawn_and_zero(ax, b, low, high, points, ends):
    forest(b, low, high, points=points, ax=ax)
    np.testing.assert_allclose(ax.get_xlim(), ends, rtol=1e-12)
    ax.figure.canvas.draw()


@turns
def test_limits_without_an_end_run_to_the_edge_and_missing_ones_have_no_bar(ax, orient, value, term):
    low, high = [-np.inf, np.nan, 11.0], [260.0, 13.0, np.inf]
    forest(pd.Series([250.0, 10.0, 5.0]), low, high, axlim=(-10, 300), orient=orient, ax=ax)
    assert (ax.get_xlim(), ax.get_ylim())[value] == (-10, 300)
    drawn = [bar[:, value].tolist() for bar in ax.collections[-1].get_segments() if np.isfinite(bar).all() and len(bar)]
    assert [bar for bar in drawn if len(bar) == 2] == [[-10, 260], [11, 300]]  # the last leaves its estimate out
    ax.figure.canvas.draw()


@turns
def test_points_are_strewn_behind_their_term(ax, orient, value, term):
    given = GROUPS.assign(other=1.0)[["other", "Days", "(Intercept)"]]
    given.loc[0, "Days"] = np.nan
    forest(B, LOW, HIGH, points=given, orient=orient, points_alpha=0.2, ax=ax)
    np.testing.assert_array_equal(points(ax)[:, value], [*GROUPS["(Intercept)"], *GROUPS["Days"][1:]])
    place = points(ax)[:, term]
    np.testing.assert_array_equal(np.rint(place), [0] * 4 + [1] * 3)
    assert np.abs(place - np.rint(place)).max() <= 0.35
    assert cloud(ax).get_zorder() < min(ax.lines[1].get_zorder(), ax.collections[-1].get_zorder())
    assert cloud(ax).get_alpha() == 0.2
    other = forest(B, LOW, HIGH, points=pd.DataFrame({"x": [1.0]}), ax=Figure().subplots())
    assert len(other.collections) == 1


def test_points_lie_the_same_each_time_in_any_order_of_groups():
    one, two, turned = (
        points(forest(B, LOW, HIGH, points=given, ax=Figure().subplots())) for given in (GROUPS, GROUPS, GROUPS[::-1])
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(one[np.lexsort(one.T)], turned[np.lexsort(turned.T)])


@pytest.mark.parametrize(("count", "deepest"), [(18, 6 * 18**0.5), (3000, 90)])
@pytest.mark.parametrize("tied", [False, True])
def test_strips_are_as_deep_as_their_points_need(ax, count, deepest, tied):
    forest(
        B, LOW, HIGH, points=pd.DataFrame({"Days": np.full(count, 10.0) if tied else np.linspace(0, 20, count)}), ax=ax
    )
    reach = np.ptp(ax.transData.transform(points(ax))[:, 1]) * 72 / ax.figure.dpi
    assert 0.5 * deepest < reach <= deepest
    assert np.unique(points(ax), axis=0).shape == (count, 2)
    assert cloud(ax).get_rasterized() == (count > MANY)


@pytest.mark.parametrize(
    ("fmt", "marker", "color"),
    [
        ("o", "o", INK), ("s", "s", INK), ("rs", "s", "#ff0000"), ("C1D", "D", "#ff7f0e"), ("x", "x", INK),
        ("teal", "None", "#008080"), ("1", "1", INK), ("0.5", "None", "#808080"),
    ],
)  # fmt: skip
def test_the_format_rules_mark_and_colour(ax, fmt, marker, color):
    forest(B, LOW, HIGH, fmt=fmt, ax=ax)
    assert ax.lines[1].get_marker() == marker
    assert to_hex(ax.lines[1].get_color()) == color.lower() == to_hex(ax.collections[-1].get_colors()[0])
    assert to_hex(ax.lines[1].get_markeredgecolor()) == ("#ffffff" if marker in "osD" else color.lower())
    bare = forest(B, LOW, HIGH, fmt="none", ax=Figure().subplots())
    assert len(bare.lines) == 1 and len(bars(bare)) == 2


@turns
def test_a_note_stands_under_the_axis_of_empty_axes(ax, orient, value, term):
    for text in ("Points: none", "again"):
        forest(B, LOW, HIGH, xlabel="b", note=text, orient=orient, ax=ax)
    assert artists.note(ax) == "Points: none"
    ax.figure.canvas.draw()
    assert ax.texts[0].get_window_extent().y1 <= min(tick.get_window_extent().y0 for tick in ax.get_xticklabels())


def test_notes_of_panels_side_by_side_stay_apart():
    panels = Figure(figsize=(12, 4)).subplots(1, 3)
    for ax in panels:
        forest(B, LOW, HIGH, note="(Intercept) takes up most of the axis; plot_intercept=False leaves it out.", ax=ax)
    panels[0].figure.canvas.draw()
    boxes = [ax.texts[0].get_window_extent() for ax in panels]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_a_picture_of_no_term_is_refused(ax):
    with pytest.raises(DataError, match="no term"):
        forest(B[:0], [], [], ax=ax)
    assert not artists.drawn(ax)


@pytest.mark.parametrize(
    ("b", "given", "term"),
    [
        ([250.0, 10.0], None, "a"), ([250.0, 30.0], None, None), ([250.0], None, None),
        ([1.0, 0.9], {"b": [40.0, np.nan]}, "b"), ([1.0, 0.9], {"c": [40.0]}, None),
        ([250.0, 250.0], {"a": [200.0, 300.0], "b": [250.0, 250.0]}, None), ([0.1, np.nan, -900.0], None, "c"),
    ],
)  # fmt: skip
def test_a_term_that_crowds_the_others_out_is_named(b, given, term):
    b = pd.Series(b, index=list("abc")[: len(b)])
    assert crowding(b, b - 1, b + 1, None if given is None else pd.DataFrame(given)) == term


@pytest.mark.parametrize(
    ("long", "lines"),
    [
        ("conditionTreated:timeAfterTraining:groupControl", "conditionTreated:\ntimeAfterTraining:\ngroupControl"),
        ("C(condition, Treatment('b'))[T.new]", "C(condition, Treatment('b'))\n[T.new]"), (7, "7"),
        ("a level with a long description", "a level with a long\ndescription"),
    ],
)  # fmt: skip
def test_names_are_broken_where_they_may(ax, long, lines):
    forest(pd.Series({long: 1.0, "x": 3.0}), [0, 2], [2, 4], ax=ax)
    assert names(ax, "y") == [lines, "x"]


FACTOR = "C(condition, Treatment('control'))[T.level {}]:scale(baseline_anxiety)"


@pytest.mark.parametrize("orient", ["v", "h"])
@pytest.mark.parametrize("figsize", [(4, 3), (12, 6)])
@pytest.mark.parametrize("count", [1, 30, 150])
@pytest.mark.parametrize("name", ["x{}", "baseline_anxiety_of_session_{}_scaled", FACTOR])
def test_names_stay_apart_and_differ(name, count, figsize, orient):
    b = pd.Series(np.linspace(-1, 2, count), index=[name.format(i) for i in range(count)])
    axis, value = "yx" if orient == "v" else "xy"
    how = {"figsize": figsize, f"{value}label": "b", "note": "Points: none."}
    axes = forest(b, b - 1, b + 1, orient=orient, **how)
    artists.check_texts(axes.figure)
    places = np.asarray(getattr(axes, f"get_{axis}ticks")())
    assert len(set(names(axes, axis))) == places.size
    every = 1 if count == 1 else places[1] - places[0]
    assert (np.diff(places) == every).all()
    assert every == 1 if count == 1 or (count, figsize) == (30, (12, 6)) else every > (count == 150)
    area, whole = axes.get_window_extent(), axes.figure.bbox
    # On the smallest figure, names that long leave little: shorter ones would be the same for all.
    share = 0.5 if (name, figsize) == (FACTOR, (4, 3)) else 1.0
    assert area.width > share * 0.3 * whole.width and area.height > share * 0.2 * whole.height
