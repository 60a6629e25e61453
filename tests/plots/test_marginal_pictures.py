"""Marginal means, slopes and contrasts, drawn from their tables."""

from __future__ import annotations

import artists
import numpy as np
import pandas as pd
import pytest
from artists import labels, names
from matplotlib.collections import LineCollection

from pymer4.errors import DataError
from pymer4.plots.marginal import marginal

LIMITS = ["Estimate", "2.5_ci", "97.5_ci"]


def cells(**variables) -> pd.DataFrame:
    """Return a table of estimates, one row a cell, the first variable fastest."""
    grid = pd.MultiIndex.from_product(list(variables.values())[::-1], names=list(variables)[::-1]).to_frame(index=False)
    table = grid[list(variables)]
    n = len(table)
    middle = np.random.default_rng(n).uniform(1, 4, n)
    return table.assign(**{"Estimate": middle, "2.5_ci": middle - 0.5, "97.5_ci": middle + 0.8, "SE": 0.3, "DF": 9.0})


def drawn_estimates(axes, count=1):
    """Return x, estimate and limits of the marks of each level, shape (levels, places, 4)."""
    lines = [line for line in axes.lines if line.get_marker() not in ("None", None, "")][:count]
    segments = [c.get_segments() for c in axes.collections if isinstance(c, LineCollection)]
    return np.array(
        [
            np.column_stack([line.get_xydata(), np.array(ends)[:, 0, 1], np.array(ends)[:, 1, 1]])
            for line, ends in zip(lines, segments, strict=True)
        ]
    )


@pytest.mark.parametrize(
    ("table", "categories", "expected"),
    [
        (cells(arm=["usual", "new", "both"]), (), ["usual", "new", "both"]),
        (cells(dose=[0.5, 1.0]), ["dose"], ["0.5", "1"]),
        (cells(dose=[False, True]), (), ["False", "True"]),
        (cells(dose=[2.0]), (), ["2"]),
        (cells(size=pd.Categorical(["small", "huge"], ["small", "medium", "huge"]))[::-1], (), ["small", "huge"]),
        (cells(x=[1.0])[[*LIMITS, "SE", "DF"]], (), ["overall"]),
    ],
    ids=["text", "named", "bool", "single", "ordered", "overall"],
)
def test_means_of_categories_are_marks_with_bars(ax, table, categories, expected):
    assert marginal(table, categories=categories, ax=ax) is ax
    (found,) = drawn_estimates(ax)
    np.testing.assert_array_equal(found[:, 0], range(len(table)))
    np.testing.assert_array_equal(found[:, 1:], table[LIMITS][:: -1 if "small" in expected else 1])
    assert names(ax) == expected
    assert ax.get_legend() is None
    assert labels(ax) == (table.columns[0] if expected != ["overall"] else "", "Marginal mean")


def test_a_second_variable_has_colours_and_marks_beside_each_other(ax):
    table = cells(arm=["usual", "new"], sex=["f", "m", "x"])
    marginal(table, ax=ax)
    found = drawn_estimates(ax, 3)
    for level, each in zip("fmx", found, strict=True):
        np.testing.assert_array_equal(each[:, 1:], table.loc[table.sex == level, LIMITS])
    places = found[:, :, 0]
    np.testing.assert_allclose(places.mean(axis=0), [0, 1], atol=1e-12)
    assert (np.diff(places, axis=0) > 0).all() and np.ptp(places, axis=0).max() < 0.7
    assert len({line.get_color() for line in ax.lines}) == len({line.get_marker() for line in ax.lines}) == 3
    assert {line.get_linestyle() for line in ax.lines} == {"-"}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["f", "m", "x"]
    assert ax.get_legend().get_title().get_text() == "sex"


def test_other_variables_have_panels():
    table = cells(arm=["usual", "new"], time=["before", "during", "after"], sex=["f", "m"])
    panels = marginal(table)
    assert [panel.get_title() for panel in panels] == ["sex = f", "sex = m"]
    for panel, sex in zip(panels, "fm", strict=True):
        for time, each in zip(["before", "during", "after"], drawn_estimates(panel, 3), strict=True):
            rows = (table.sex == sex) & (table.time == time)
            np.testing.assert_array_equal(each[:, 1:], table.loc[rows, LIMITS])
    assert panels[0].get_ylim() == panels[1].get_ylim()
    assert [panel.get_ylabel() for panel in panels] == ["Marginal mean", ""]
    (key,) = panels[0].figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["before", "during", "after"]
    artists.check_texts(panels[0].figure)
    assert key.get_window_extent().x0 >= panels[1].get_window_extent().x1


@pytest.mark.parametrize("more", [{"c": "ab", "d": "abc"}, {"c": "abcd"}, {"c": "abcde"}])
def test_panels_stand_in_two_rows(more):
    table = cells(a=["x", "y"], b=["u", "v"], **{name: list(levels) for name, levels in more.items()})
    panels = marginal(table)
    count = int(np.prod([len(levels) for levels in more.values()]))
    figure = panels[0].figure
    artists.check_texts(figure)
    assert len(panels) == len({panel.get_title() for panel in panels}) == len(figure.axes) == count
    assert len({round(panel.get_position().y0, 3) for panel in panels}) == 2
    wide = -(-count // 2)
    for number, panel in enumerate(panels):
        shown = any(tick.get_visible() and tick.get_text() for tick in panel.get_xticklabels())
        assert shown == bool(panel.get_xlabel()) == (number + wide >= count)


def test_cells_that_are_not_there_leave_gaps(ax):
    table = cells(arm=["usual", "new"], sex=["f", "m"]).drop(index=3)
    table.loc[0, LIMITS] = np.nan
    marginal(table, ax=ax)
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 1]
    ax.figure.canvas.draw()


@pytest.mark.parametrize("count", [2, 5, 40])
def test_a_number_has_a_line_and_a_band(ax, count):
    x = np.linspace(0, 0.6, count)
    table = cells(nitro=x[::-1])
    marginal(table, ax=ax)
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xydata(), np.column_stack([x, table["Estimate"][::-1]]))
    np.testing.assert_allclose(artists.band(ax, x), table[LIMITS[1:]][::-1].T, rtol=1e-12)
    assert (line.get_markersize() > 0) == (count <= 12)


@pytest.mark.parametrize("places", [5, 40])
def test_bands_can_be_told_apart_without_colours(places):
    axes = marginal(cells(x=list(np.linspace(0, 1, places)), arm=["a", "b", "c", "d"]))
    lines = [line for line in axes.lines if line.get_label() in "abcd"]
    assert len({str(line._dash_pattern) for line in lines}) == 4
    (key,) = axes.figure.legends
    assert [str(handle._dash_pattern) for handle in key.get_lines()] == [str(line._dash_pattern) for line in lines]


def test_more_levels_than_colours_are_told_apart(ax):
    marginal(cells(a=["x", "y"], b=[f"level {i}" for i in range(30)]), ax=ax)
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 30


@pytest.mark.parametrize(
    ("told", "words", "lines"),
    [
        ({}, "Marginal mean", 1), ({"estimate": "response"}, "Marginal mean", 1), ({"estimate": "hazard"}, "hazard", 1),
        ({"estimate": "prob"}, "Probability", 1), ({"estimate": "rate"}, "Rate", 1),
        ({"estimate": "trend", "variable": "x"}, "Slope of x", 2),
        ({"estimate": "estimate", "variable": "x"}, "Difference of slopes of x", 2),
    ],
)  # fmt: skip
def test_the_axis_says_what_is_estimated_and_slopes_have_a_line_at_0(ax, told, words, lines):
    table = cells(arm=["usual", "new"])
    table.attrs |= told
    assert marginal(table, ax=ax).get_ylabel() == words
    assert len(ax.lines) == lines and (ax.get_ylim()[0] <= 0) == (lines == 2)


@pytest.mark.parametrize("ends", [(1.1, 1.9), (0.5, 160.0)])
@pytest.mark.parametrize(
    ("estimate", "words", "neutral", "scale"),
    [("estimate", "Difference", 0, "linear"), ("ratio", "Ratio", 1, "log"), ("odds.ratio", "Odds ratio", 1, "log")],
)
def test_contrasts_run_down_the_page(ax, estimate, words, neutral, scale, ends):
    table = cells(Contrast=["a - b", "a - c", "b - c"], sex=["f", "m"])
    values = table[LIMITS].to_numpy()
    table[LIMITS] = np.interp(values, (values.min(), values.max()), ends)
    table.attrs["estimate"] = estimate
    marginal(table, ax=ax)
    assert names(ax, "y") == ["a - b", "a - c", "b - c"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert (*labels(ax), ax.get_xscale()) == (words, "", scale)
    (guide,) = [line for line in ax.lines if set(line.get_xdata()) == {neutral}]
    for sex, line in zip("fm", [line for line in ax.lines if line is not guide], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), table.loc[table.sex == sex, "Estimate"])
        assert line.get_linewidth() == 0
    found = np.sort(artists.bars(ax)[:, :, 0], axis=0)
    np.testing.assert_array_equal(found, np.sort(table[LIMITS[1:]].to_numpy(), axis=0))
    ax.figure.canvas.draw()
    low, high = ax.get_xlim()
    assert sum(low <= tick <= high for tick in ax.get_xticks()) >= 4
    assert not any("times" in name for name in names(ax))


def test_limits_without_an_end_run_as_far_as_the_rest(ax):
    table = cells(arm=["a", "b"])
    table.loc[0, "97.5_ci"], table.loc[1, "2.5_ci"] = np.inf, -np.inf
    marginal(table, ax=ax)
    finite = table[LIMITS].to_numpy()[np.isfinite(table[LIMITS].to_numpy())]
    assert artists.bars(ax)[0, 1, 1] == finite.max() and artists.bars(ax)[1, 0, 1] == finite.min()


def test_variables_may_have_the_names_of_our_columns(ax):
    table = cells(a=["u", "v"])
    table.columns = ["Estimate", *table.columns[1:]]
    marginal(table, ax=ax)
    assert (names(ax), ax.get_xlabel()) == (["u", "v"], "Estimate")
    np.testing.assert_array_equal(drawn_estimates(ax)[0][:, 1], table.iloc[:, 1])


LONG = ["cognitive behavioural therapy after 12 months", "control group with the usual care, baseline"]
VERSUS = [f"{a} - {b} ({i})" for i, (a, b) in enumerate([LONG, LONG[::-1]] * 5)]


@pytest.mark.parametrize("table", [cells(Contrast=VERSUS, sex=["f", "m"]), cells(arm=[*LONG, "new"], sex=LONG)])
def test_long_names_neither_overlap_nor_are_cut(table):
    table.attrs["estimate"] = "estimate"
    axes = marginal(table)
    artists.check_texts(axes.figure)
    assert axes.get_window_extent().width > 0.3 * axes.figure.bbox.width


def test_tables_without_estimates_are_refused(ax):
    for table in (pd.DataFrame({"a": [1]}), cells(a=["x"])[:0]):
        with pytest.raises(DataError, match="no estimate"):
            marginal(table, ax=ax)
