"""Pictures that question a fit, random effects and marginal means: what was drawn is read back from the axes."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from itertools import pairwise

import matplotlib

from pymer4.plots import residuals

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from against_r import rinterface
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.figure import Figure
from scipy import stats

from pymer4 import Lmer, load_dataset
from pymer4.errors import DataError, NotFittedError, OptionError
from pymer4.fit.lowess import lowess
from pymer4.models.base import Model
from pymer4.models.pictures import Pictures
from pymer4.plots.forest import forest
from pymer4.plots.groups import caterpillar, group_lines
from pymer4.plots.groups import caterpillars as draw_caterpillars
from pymer4.plots.marginal import marginal
from pymer4.plots.residuals import POINTS, partial_regression, quantiles, residuals_against_fitted

pytestmark = pytest.mark.numeric

EXACT = 1e-12  # relative: the same few products in another order
SAME_AS_R = 1e-10  # relative to the range: one algorithm, summed in another order
LEAST_SQUARES = 1e-8  # relative: a slope found by two regressions, and by lme4's penalized least squares
Z = stats.norm.ppf(0.975)
r = pytest.mark.r


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


def labelled(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def points(axes):
    """Return the one scatter of the axes as an (n, 2) array."""
    (dots,) = [c for c in axes.collections if isinstance(c, PathCollection)]
    return np.asarray(dots.get_offsets())


def dots(axes):
    """Return the one line of marks alone, shape (n, 2)."""
    (line,) = [line for line in axes.lines if line.get_linestyle() == "None"]
    return line.get_xydata()


def bars(axes):
    """Return the ends of all bars, shape (n, 2, 2)."""
    return np.concatenate([c.get_segments() for c in axes.collections if isinstance(c, LineCollection)])


def edge(axes, x):
    """Return the lower and the upper edge of the one band at the places x."""
    (area,) = [c for c in axes.collections if isinstance(c, PolyCollection)]
    corners = area.get_paths()[0].vertices
    found = [corners[np.isclose(corners[:, 0], place, rtol=1e-12), 1] for place in x]
    return np.array([f.min() for f in found]), np.array([f.max() for f in found])


def names(axes, axis="x"):
    return [tick.get_text() for tick in getattr(axes, f"get_{axis}ticklabels")()]


def slope(line):
    (x0, y0), (x1, y1) = line.get_xydata()[[0, -1]]
    return (y1 - y0) / (x1 - x0)


def ask_r(code: str, **given) -> list[float]:
    """Return the numbers that a script prints in an R of its own, which finds `given` as vectors."""
    vectors = "".join(f"{k} <- c({','.join(map(repr, map(float, v)))})\n" for k, v in given.items())
    done = subprocess.run(["Rscript", "--vanilla", "-"], input=vectors + code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [float(word) for word in done.stdout.split()]


def sample(kind: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return {
        "even": lambda: rng.uniform(0, 10, 180),
        "skewed": lambda: rng.gamma(1, size=1000),
        "seven": lambda: rng.normal(size=7),
        "ties": lambda: rng.integers(0, 4, 60).astype(float),
        "two": lambda: rng.integers(0, 2, 40).astype(float),
        "uneven": lambda: rng.choice([0.0, 1.0, 5.0], 200, p=[0.8, 0.1, 0.1]),
    }[kind]()


# the smooth line


@r
@pytest.mark.parametrize("iterations", [0, 3])
@pytest.mark.parametrize("kind", ["even", "skewed", "seven", "ties", "two", "uneven"])
def test_the_line_is_that_of_r(kind, iterations):
    x = sample(kind)
    y = np.sin(x) + np.random.default_rng(1).standard_t(2, size=x.size)
    code = f"l <- lowess(x, y, f = 2/3, iter = {iterations}, delta = 0); cat(sprintf('%.17g', c(l$x, l$y)))"
    at, line = lowess(x, y, iterations=iterations)
    expected = np.reshape(ask_r(code, x=x, y=y), (2, -1))
    assert np.abs(np.interp(expected[0], at, line) - expected[1]).max() < SAME_AS_R * np.ptp(expected[1])


@r
def test_the_line_of_many_points_is_about_that_of_r():
    rng = np.random.default_rng(2)
    x = rng.normal(size=6000)
    y = np.sin(x) + 0.2 * rng.standard_t(3, size=6000)
    code = "l <- lowess(x, y, delta = 0); cat(sprintf('%.17g', c(l$x, l$y)))"
    expected = np.reshape(ask_r(code, x=x, y=y), (2, -1))
    at, line = lowess(x, y)
    assert at[0] == x.min() and at[-1] == x.max() and at.size <= 200
    # Averages of six neighbours each, read between 200 places: a hundredth of the range is a pixel or two.
    assert np.abs(np.interp(expected[0], at, line) - expected[1]).max() < 0.01 * np.ptp(expected[1])


def test_the_line_does_not_depend_on_the_order_of_rows():
    x, rng = sample("even"), np.random.default_rng(3)
    y, order = rng.normal(size=x.size), rng.permutation(x.size)
    np.testing.assert_allclose(lowess(x[order], y[order]), lowess(x, y), rtol=EXACT)


@pytest.mark.parametrize(
    ("x", "y", "line"),
    [([1.0], [2.0], [2.0]), ([1.0, 2.0], [5.0, 3.0], [5.0, 3.0]), ([0.0, 0.0, 1.0], [1.0, 3.0, 9.0], [2.0, 9.0])],
)
def test_few_points_have_a_line(x, y, line):
    np.testing.assert_allclose(lowess(x, y, iterations=0)[1], line, rtol=EXACT)


def test_an_outlier_moves_the_robust_line_little():
    x = np.linspace(0, 1, 101)
    y = np.where(np.arange(101) == 50, 100.0, 0.0) + 0.01 * np.sin(37 * x)
    robust, plain = (np.abs(lowess(x, y, iterations=k)[1]).max() for k in (3, 0))
    assert robust < 0.02 < 1 < plain


# residuals against fitted values


@pytest.mark.parametrize("robust", [True, False])
def test_residuals_are_drawn_with_their_line(ax, robust):
    x, y = sample("even"), np.random.default_rng(4).standard_t(3, size=180)
    assert residuals_against_fitted(x, y, robust=robust, ax=ax) is ax
    np.testing.assert_array_equal(points(ax), np.column_stack([x, y]))
    at, line = lowess(x, y, iterations=3 if robust else 0)
    np.testing.assert_array_equal(labelled(ax, "Smooth").get_xydata(), np.column_stack([at, line]))
    assert any(set(line.get_ydata()) == {0} for line in ax.lines)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Fitted values", "Residuals")


def test_pairs_with_a_gap_are_left_out(ax):
    residuals_against_fitted([1.0, 2.0, np.nan, 4.0, 5.0], [0.1, np.nan, 0.3, np.inf, 0.5], ax=ax)
    np.testing.assert_array_equal(points(ax), [[1.0, 0.1], [5.0, 0.5]])


@pytest.mark.parametrize("count", [1, 40])
def test_one_fitted_value_has_no_line(ax, count):
    residuals_against_fitted(np.full(count, 3.0), np.arange(count, dtype=float), ax=ax)
    assert len(ax.lines) == 1
    ax.figure.canvas.draw()


@pytest.mark.parametrize("kind", ["spread", "columns", "flat", "single"])
def test_many_residuals_are_counted(kind):
    rng = np.random.default_rng(5)
    n = POINTS + 1000
    x = {"spread": rng.normal(size=n), "columns": rng.integers(0, 3, n), "flat": rng.normal(size=n)}.get(
        kind, np.ones(n)
    )
    y = np.zeros(n) if kind in ("flat", "single") else rng.normal(size=n)
    axes = residuals_against_fitted(x, y)
    (cells,) = [c for c in axes.collections if isinstance(c, PolyCollection)]
    assert cells.get_array().sum() == n
    assert cells.get_rasterized()
    assert not any(isinstance(c, PathCollection) for c in axes.collections)
    assert [each.get_ylabel() for each in axes.figure.axes[1:]] == ["Rows"]
    axes.figure.canvas.draw()


def test_a_key_takes_no_room_from_axes_that_are_given(ax):
    x = np.random.default_rng(6).normal(size=POINTS + 1)
    residuals_against_fitted(x, x[::-1], ax=ax)
    assert ax.figure.axes == [ax]


@pytest.mark.parametrize(
    ("given", "message"),
    [(([np.nan], [1.0]), "nothing to draw"), (([], []), "nothing to draw")],
)
def test_residuals_that_make_no_picture_are_refused(ax, given, message):
    with pytest.raises(DataError, match=message):
        residuals_against_fitted(*given, ax=ax)


# normal quantiles


@r
@pytest.mark.parametrize("n", [5, 10, 11, 60])
def test_quantiles_and_their_line_are_those_of_r(ax, n):
    y = np.random.default_rng(n).gamma(2, size=n)
    code = """
    cat(sprintf("%.17g", sort(qqnorm(y, plot.it = FALSE)$x)))
    line <- qqline
    told <- function(a, b, ...) cat(sprintf(" %.17g", c(a, b)))
    environment(line) <- list2env(list(abline = told), parent = asNamespace("stats"))
    line(y)
    """
    *x, intercept, steepness = ask_r(code, y=y)
    quantiles(y, ax=ax)
    found = dots(ax)
    np.testing.assert_allclose(found[:, 0], x, atol=1e-14)
    np.testing.assert_array_equal(found[:, 1], np.sort(y))
    line = labelled(ax, "Normal")
    np.testing.assert_allclose(slope(line), steepness, rtol=EXACT)
    np.testing.assert_allclose(line.get_ydata(), intercept + steepness * line.get_xdata(), rtol=EXACT)


def test_the_line_passes_through_both_quartiles(ax):
    y = np.random.default_rng(7).normal(3, 2, 101)
    quantiles(y, ax=ax)
    line = labelled(ax, "Normal")
    at = np.interp(stats.norm.ppf([0.25, 0.75]), line.get_xdata(), line.get_ydata())
    np.testing.assert_allclose(at, np.quantile(y, [0.25, 0.75]), rtol=EXACT)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_the_band_is_that_of_order_statistics(ax, level):
    n = 40
    y = np.random.default_rng(8).normal(size=n)
    quantiles(y, conf_level=level, ax=ax)
    line, x = labelled(ax, "Normal"), dots(ax)[:, 0]
    i = np.arange(1, n + 1)
    middle = np.interp(0, line.get_xdata(), line.get_ydata())
    ends = (stats.beta.ppf(p, i, n - i + 1) for p in ((1 - level) / 2, (1 + level) / 2))
    expected = [middle + slope(line) * stats.norm.ppf(end) for end in ends]
    np.testing.assert_allclose(edge(ax, x), expected, rtol=1e-9)


def test_the_band_holds_each_ordered_value_at_its_level():
    n, level, rounds = 15, 0.8, 8000
    draws = np.sort(np.random.default_rng(9).normal(size=(rounds, n)), axis=1)
    low, high = residuals._envelope(np.arange(1, n + 1), n, level)
    share = ((draws >= low) & (draws <= high)).mean(axis=0)
    assert np.abs(share - level).max() < 4 * np.sqrt(level * (1 - level) / rounds)  # four standard errors


def test_quantiles_without_a_band(ax):
    quantiles([1.0, 2.0, np.nan, 4.0], conf_level=None, ax=ax)
    assert not ax.collections
    np.testing.assert_array_equal(dots(ax)[:, 1], [1, 2, 4])


def test_many_quantiles_are_thinned_between_their_tails(ax):
    y = np.random.default_rng(10).standard_t(3, size=200_000)
    quantiles(y, ax=ax)
    found = dots(ax)
    assert len(found) <= POINTS
    assert np.isin(found[:, 1], y).all()
    ordered = np.sort(y)
    np.testing.assert_array_equal(found[:300, 1], ordered[:300])
    np.testing.assert_array_equal(found[-300:, 1], ordered[-300:])
    assert np.diff(found[:, 0]).max() < 0.4  # but for the outermost two, whose places lie that far apart
    (band,) = ax.collections
    assert len(band.get_paths()[0].vertices) < 2000
    low, high = edge(ax, found[[0, -1], 0])
    assert np.isfinite([*low, *high]).all()


@pytest.mark.parametrize("values", [[2.0], [2.0, 2.0, 2.0], [1.0, 2.0]])
def test_few_or_equal_residuals_can_be_drawn(ax, values):
    quantiles(values, ax=ax)
    np.testing.assert_array_equal(dots(ax)[:, 1], values)
    ax.figure.canvas.draw()


# partial regression


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("k", [0, 1, 4])
def test_the_slope_is_the_coefficient(ax, k, weighted):
    rng = np.random.default_rng(11)
    others = np.column_stack([np.ones(80), rng.normal(size=(80, 3))])[:, :k]
    x = rng.normal(2, 1, 80) + others.sum(axis=1)
    y = 3 * x - others.sum(axis=1) + rng.normal(size=80)
    w = rng.uniform(0.2, 5, 80) if weighted else None
    root = np.sqrt(w if weighted else np.ones(80))[:, None]
    both = np.column_stack([x, others])
    b = np.linalg.lstsq(both * root, y * root[:, 0], rcond=None)[0]
    partial_regression(x, y, others, weights=w, ax=ax)
    line = labelled(ax, "Slope")
    np.testing.assert_allclose(slope(line), b[0], rtol=LEAST_SQUARES)
    left = points(ax)
    np.testing.assert_allclose(left[:, 1] - b[0] * left[:, 0], y - both @ b, atol=1e-10)
    np.testing.assert_allclose((others * root**2).T @ left, 0, atol=1e-9)
    np.testing.assert_allclose(line.get_xdata(), [left[:, 0].min(), left[:, 0].max()], rtol=EXACT)


def test_points_are_as_large_as_their_weights(ax):
    w = np.arange(1.0, 21.0)
    partial_regression(w**2, w, np.ones((20, 1)), weights=w, ax=ax)
    (cloud,) = ax.collections
    np.testing.assert_allclose(cloud.get_sizes() / cloud.get_sizes()[0], w, rtol=EXACT)


@pytest.mark.parametrize(("weights", "label"), [(None, "Rows"), (2.0, "Sum of weights")])
def test_many_rows_are_counted_with_their_weights(weights, label):
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=(2, POINTS + 500))
    w = None if weights is None else np.full(x.size, weights)
    axes = partial_regression(x, y, np.ones((x.size, 1)), weights=w)
    (cells,) = [c for c in axes.collections if isinstance(c, PolyCollection)]
    np.testing.assert_allclose(cells.get_array().sum(), x.size * (weights or 1), rtol=EXACT)
    assert axes.figure.axes[1].get_ylabel() == label


def test_a_column_that_the_others_add_up_to_is_refused(ax):
    others = np.random.default_rng(13).normal(size=(30, 2))
    with pytest.raises(DataError, match="add up"):
        partial_regression(others.sum(axis=1), others[:, 0], others, ax=ax)


# caterpillars


def blups(count: int, terms=("(Intercept)", "Days")) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(count)
    index = [f"s{i:04d}" for i in range(count)]
    values = pd.DataFrame(rng.normal(size=(count, len(terms))), index=index, columns=list(terms))
    return values, pd.DataFrame(rng.uniform(0.1, 1, values.shape), index=index, columns=list(terms))


@pytest.mark.parametrize("order", ["value", "first", "given"])
@pytest.mark.parametrize(("count", "level"), [(5, 0.5), (300, 0.95), (3000, 0.95)])
def test_groups_are_ordered_with_their_intervals(count, order, level):
    values, se = blups(count)
    panels = draw_caterpillars(values, se[::-1], order=order, conf_level=level, ylabel="Subject")
    assert panels.shape == (2,)
    for panel, term in zip(panels, values.columns, strict=True):
        by = {"value": term, "first": "(Intercept)"}.get(order)
        ordered = values[::-1] if by is None else values.sort_values(by, kind="stable")
        np.testing.assert_array_equal(dots(panel), np.column_stack([ordered[term], np.arange(count)]))
        if order == "value":
            assert (np.diff(dots(panel)[:, 0]) >= 0).all()
        half = stats.norm.ppf((1 + level) / 2) * se.loc[ordered.index, term]
        ends = np.column_stack([ordered[term] - half, ordered[term] + half])
        np.testing.assert_allclose(bars(panel)[:, :, 0], ends, rtol=EXACT, atol=1e-15)
        assert panel.get_title() == term
    if count == 5:
        expected = values[::-1] if order == "given" else values.sort_values("(Intercept)")
        assert names(panels[0], "y") == list(expected.index)
        assert panels[0].get_ylabel() == "Subject"
    else:
        assert names(panels[0], "y") == []
        assert panels[0].get_ylabel() == f"Subject ({count:,} groups)"
    assert panels[1].get_ylabel() == ""
    panels[0].figure.canvas.draw()


def test_a_single_term_needs_no_panels(ax):
    values, se = blups(8, ["(Intercept)"])
    assert draw_caterpillars(values, se, xlabel="Deviation", ax=ax) is ax
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("", "Deviation", "")


def test_groups_without_a_standard_error_have_no_bar(ax):
    values, se = blups(4, ["x"])
    se.iloc[2] = np.nan
    draw_caterpillars(values, se, ax=ax)
    ends = [bar for each in ax.collections for bar in each.get_segments() if np.isfinite(bar).all() and len(bar) == 2]
    assert len(ends) == 3
    other = draw_caterpillars(values, ax=Figure().subplots())
    assert not other.collections
    ax.figure.canvas.draw()


def test_zero_is_behind_the_groups(ax):
    values, se = blups(6, ["x"])
    draw_caterpillars(values, se, ax=ax)
    (zero,) = [line for line in ax.lines if set(line.get_xdata()) == {0}]
    assert zero.get_zorder() < min(artist.get_zorder() for artist in (*ax.collections, *ax.lines) if artist is not zero)


def test_panels_take_the_axes_that_are_given():
    values, se = blups(6, ["a", "b", "c", "d"])
    given = Figure().subplots(2, 2)
    drawn = draw_caterpillars(values, se, ax=given)
    assert list(drawn) == list(given.flat)
    with pytest.raises(OptionError, match="3 axes for 4 panels"):
        draw_caterpillars(values, se, ax=given.flat[:3])
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda v, s: draw_caterpillars(v, s, order="up"), OptionError, "order='up'"),
        (lambda v, s: draw_caterpillars(v * np.nan, s), DataError, "No group has a value"),
    ],
)
def test_what_is_no_random_effect_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(*blups(5))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_names_of_groups_fit_on_the_page(count):
    values, se = blups(25, [f"term {i}" for i in range(count)])
    values.index = se.index = [f"a primary school with a long name, number {i}" for i in range(25)]
    panels = np.ravel(draw_caterpillars(values, se, ylabel="School"))
    figure = panels[0].figure
    figure.canvas.draw()
    for panel in panels:
        boxes = [tick.get_window_extent() for tick in panel.get_yticklabels()]
        assert min(box.x0 for box in boxes) >= -1
        assert panel.get_window_extent().width > 0.3 * figure.bbox.width / min(count, 4)


@pytest.mark.parametrize("figsize", [(5, 3), None])
def test_texts_of_panels_do_not_meet(figsize):
    panels = draw_caterpillars(
        *blups(5, ["(Intercept)", "baseline anxiety of the group", "x"]), xlabel="Deviation from it", figsize=figsize
    )
    panels[0].figure.canvas.draw()
    for texts in ([panel.title for panel in panels], [panel.xaxis.label for panel in panels]):
        boxes = [text.get_window_extent() for text in texts]
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
        assert boxes[0].x0 >= 0 and boxes[-1].x1 <= panels[0].figure.bbox.x1


# marginal estimates


def cells(**variables) -> pd.DataFrame:
    """Return a table of estimates, one row a cell, the first variable fastest."""
    grid = pd.MultiIndex.from_product(list(variables.values())[::-1], names=list(variables)[::-1]).to_frame(index=False)
    table = grid[list(variables)]
    n = len(table)
    middle = np.random.default_rng(n).uniform(1, 4, n)
    return table.assign(**{"Estimate": middle, "2.5_ci": middle - 0.5, "97.5_ci": middle + 0.8, "SE": 0.3, "DF": 9.0})


def drawn_estimates(axes, count):
    """Return x, estimate and limits of the marks of each level, shape (levels, places, 4)."""
    lines = [line for line in axes.lines if line.get_marker() not in ("None", None, "")][:count]
    segments = [c.get_segments() for c in axes.collections if isinstance(c, LineCollection)]
    return np.array(
        [
            np.column_stack([line.get_xydata(), np.array(ends)[:, 0, 1], np.array(ends)[:, 1, 1]])
            for line, ends in zip(lines, segments, strict=True)
        ]
    )


@pytest.mark.parametrize("places", [5, 40])
def test_bands_can_be_told_apart_without_colours(places):
    table = cells(x=list(np.linspace(0, 1, places)), arm=["a", "b", "c", "d"])
    axes = marginal(table)
    lines = [line for line in axes.lines if line.get_label() in "abcd"]
    assert len({str(line._dash_pattern) for line in lines}) == 4
    (key,) = axes.figure.legends
    assert [str(handle._dash_pattern) for handle in key.get_lines()] == [str(line._dash_pattern) for line in lines]
    bars_only = marginal(cells(x=["u", "v"], arm=["a", "b", "c", "d"]))
    assert {line.get_linestyle() for line in bars_only.lines} == {"-"}


@pytest.mark.parametrize("count", [18, 45, 46, 60, 200])
def test_names_of_groups_can_be_read_on_a_page_or_are_counted(count):
    values = pd.DataFrame({"(Intercept)": np.arange(count, dtype=float), "x": np.arange(count, dtype=float)})
    panels = draw_caterpillars(values.set_index(pd.Index([f"s{i:03d}" for i in range(count)])))
    figure = panels[0].figure
    np.testing.assert_array_equal(figure.get_size_inches(), (7, 5))
    figure.canvas.draw()
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_visible() and text.get_text()]
    assert min(text.get_fontsize() for text in texts) >= 7
    named = [tick.get_text() for tick in panels[0].get_yticklabels()]
    assert len(named) == count if count < 35 else named == [] and f"{count} groups" in panels[0].get_ylabel()


LIMITS = ["Estimate", "2.5_ci", "97.5_ci"]


def test_means_of_one_factor(ax):
    table = cells(arm=["usual", "new", "both"])
    assert marginal(table, ax=ax) is ax
    (found,) = drawn_estimates(ax, 1)
    np.testing.assert_array_equal(found[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(found[:, 1:], table[LIMITS])
    assert names(ax) == ["usual", "new", "both"]
    assert ax.get_legend() is None
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("arm", "Marginal mean")


def test_a_second_variable_has_colours_and_marks_beside_each_other(ax):
    table = cells(arm=["usual", "new"], sex=["f", "m", "x"])
    marginal(table, ax=ax)
    found = drawn_estimates(ax, 3)
    for level, each in zip("fmx", found, strict=True):
        np.testing.assert_array_equal(each[:, 1:], table.loc[table.sex == level, LIMITS])
    places = found[:, :, 0]
    np.testing.assert_allclose(places.mean(axis=0), [0, 1], atol=1e-12)
    assert (np.diff(places, axis=0) > 0).all() and np.ptp(places, axis=0).max() < 0.7
    lines = ax.lines[:3]
    assert len({line.get_color() for line in lines}) == len({line.get_marker() for line in lines}) == 3
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["f", "m", "x"]
    assert legend.get_title().get_text() == "sex"


def test_other_variables_have_panels():
    table = cells(arm=["usual", "new"], time=["before", "during", "after"], sex=["f", "m"])
    panels = marginal(table)
    assert [panel.get_title() for panel in panels] == ["sex = f", "sex = m"]
    for panel, sex in zip(panels, "fm", strict=True):
        found = drawn_estimates(panel, 3)
        for time, each in zip(["before", "during", "after"], found, strict=True):
            rows = (table.sex == sex) & (table.time == time)
            np.testing.assert_array_equal(each[:, 1:], table.loc[rows, LIMITS])
    assert panels[0].get_ylim() == panels[1].get_ylim()
    assert [panel.get_ylabel() for panel in panels] == ["Marginal mean", ""]
    (key,) = panels[0].figure.legends
    assert [text.get_text() for text in key.get_texts()] == ["before", "during", "after"]
    panels[0].figure.canvas.draw()
    assert key.get_window_extent().x1 <= panels[0].figure.bbox.x1 + 1
    assert key.get_window_extent().x0 >= panels[1].get_window_extent().x1


@pytest.mark.parametrize(("more", "rows"), [({"c": "ab", "d": "abc"}, 2), ({"c": "abcd"}, 2), ({"c": "abcde"}, 2)])
def test_panels_stand_in_rows(more, rows):
    table = cells(a=["x", "y"], b=["u", "v"], **{name: list(levels) for name, levels in more.items()})
    panels = marginal(table)
    count = int(np.prod([len(levels) for levels in more.values()]))
    assert len(panels) == len({panel.get_title() for panel in panels}) == count
    assert len({round(panel.get_position().y0, 3) for panel in panels}) == rows
    figure = panels[0].figure
    figure.canvas.draw()
    assert len(figure.axes) == count
    wide = -(-count // rows)
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
    low, high = edge(ax, x)
    np.testing.assert_allclose([low, high], table[["2.5_ci", "97.5_ci"]][::-1].T, rtol=EXACT)
    assert (line.get_markersize() > 0) == (count <= 12)


@pytest.mark.parametrize("kind", ["named", "bool", "single"])
def test_numbers_that_are_names_are_categories(ax, kind):
    table = {"named": cells(dose=[0.5, 1.0]), "bool": cells(dose=[False, True]), "single": cells(dose=[2.0])}[kind]
    marginal(table, categories=["dose"] if kind == "named" else (), ax=ax)
    assert names(ax) == {"named": ["0.5", "1"], "bool": ["False", "True"], "single": ["2"]}[kind]


def test_levels_keep_their_order(ax):
    table = cells(size=pd.Categorical(["small", "large", "huge"], ["small", "medium", "large", "huge"]))
    table["size"] = pd.Categorical(table["size"], ["small", "medium", "large", "huge"])
    marginal(table[::-1], ax=ax)
    assert names(ax) == ["small", "large", "huge"]
    np.testing.assert_array_equal(drawn_estimates(ax, 1)[0][:, 1:], table[LIMITS])


def test_an_overall_estimate_is_one_point(ax):
    table = cells(x=[1.0])[[*LIMITS, "SE", "DF"]]
    table.attrs |= {"estimate": "trend", "variable": "nitro"}
    marginal(table, ax=ax)
    assert names(ax) == ["overall"]
    assert ax.get_ylabel() == "Slope of nitro"
    assert ax.get_ylim()[0] <= 0


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        ("emmean", "Marginal mean"), ("response", "Marginal mean"), ("prob", "Probability"), ("rate", "Rate"),
        ("trend", "Slope of x"), ("hazard", "hazard"),
    ],
)  # fmt: skip
def test_the_axis_says_what_is_estimated(ax, estimate, words):
    table = cells(arm=["usual", "new"])
    table.attrs |= {"estimate": estimate} | ({"variable": "x"} if estimate == "trend" else {})
    assert marginal(table, ax=ax).get_ylabel() == words
    assert len(ax.lines) == (2 if estimate == "trend" else 1)


@pytest.mark.parametrize(
    ("estimate", "words", "neutral", "scale"),
    [
        ("estimate", "Difference", 0, "linear"), ("ratio", "Ratio", 1, "log"), ("odds.ratio", "Odds ratio", 1, "log"),
    ],
)  # fmt: skip
def test_contrasts_run_down_the_page(ax, estimate, words, neutral, scale):
    table = cells(Contrast=["a - b", "a - c", "b - c"], sex=["f", "m"])
    table.attrs["estimate"] = estimate
    marginal(table, ax=ax)
    assert names(ax, "y") == ["a - b", "a - c", "b - c"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale()) == (words, "", scale)
    (guide,) = [line for line in ax.lines if set(line.get_xdata()) == {neutral}]
    for sex, line in zip("fm", [line for line in ax.lines if line is not guide], strict=True):
        np.testing.assert_array_equal(line.get_xdata(), table.loc[table.sex == sex, "Estimate"])
        assert line.get_linewidth() == 0
    ends = np.sort(bars(ax)[:, :, 0], axis=0)
    np.testing.assert_array_equal(ends, np.sort(table[LIMITS[1:]].to_numpy(), axis=0))
    ax.figure.canvas.draw()


def test_limits_without_an_end_run_as_far_as_the_rest(ax):
    table = cells(arm=["a", "b"])
    table.loc[0, "97.5_ci"], table.loc[1, "2.5_ci"] = np.inf, -np.inf
    marginal(table, ax=ax)
    finite = table[LIMITS].to_numpy()[np.isfinite(table[LIMITS].to_numpy())]
    assert bars(ax)[0, 1, 1] == finite.max() and bars(ax)[1, 0, 1] == finite.min()


def test_variables_may_have_the_names_of_our_columns(ax):
    table = cells(a=["u", "v"])
    table.columns = ["Estimate", *table.columns[1:]]
    marginal(table, ax=ax)
    assert (names(ax), ax.get_xlabel()) == (["u", "v"], "Estimate")
    np.testing.assert_array_equal(drawn_estimates(ax, 1)[0][:, 1], table.iloc[:, 1])


def test_names_are_taken_literally():
    table = cells(**{"cost $": ["a_$x$", "b"], "tax $": ["_u$v$", "w"], "site $": ["$1$", "2"]})
    panels = marginal(table)
    key = panels[0].figure.legends[0]
    texts = [*key.get_texts(), key.get_title(), *panels[0].get_xticklabels(), panels[0].title]
    assert not any(text.get_parse_math() for text in texts)
    assert [text.get_text() for text in key.get_texts()] == ["_u$v$", "w"]


def test_more_levels_than_colours_are_told_apart(ax):
    marginal(cells(a=["x", "y"], b=[f"level {i}" for i in range(30)]), ax=ax)
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 30


def test_tables_without_estimates_are_refused(ax):
    with pytest.raises(DataError, match="no estimate"):
        marginal(pd.DataFrame({"a": [1]}), ax=ax)
    with pytest.raises(DataError, match="no estimate"):
        marginal(cells(a=["x"])[:0], ax=ax)
    with pytest.raises(OptionError, match="1 axes for 2 panels"):
        marginal(cells(a=["x", "y"], b=["u", "v"], c=["s", "t"]), ax=ax)


def test_long_names_neither_overlap_nor_are_cut():
    long = ["cognitive behavioural therapy after 12 months", "control group with the usual care, baseline"]
    table = cells(Contrast=[f"{a} - {b} ({i})" for i, (a, b) in enumerate([long, long[::-1]] * 5)], sex=["f", "m"])
    table.attrs["estimate"] = "estimate"
    for axes in (marginal(table), marginal(cells(arm=long * 1 + ["new"], sex=["f", "m"]))):
        axes.figure.canvas.draw()
        down = bool(names(axes, "y")[0].startswith("cog"))
        ticks = axes.get_yticklabels() if down else axes.get_xticklabels()
        boxes = [tick.get_window_extent() for tick in ticks]
        assert min(box.x0 for box in boxes) >= -1 and max(box.x1 for box in boxes) <= axes.figure.bbox.x1 + 1
        for one, next_one in pairwise(boxes):
            assert one.y0 >= next_one.y1 - 1 if down else one.x1 <= next_one.x0 + 1
        assert axes.get_window_extent().width > 0.3 * axes.figure.bbox.width


# all of them

VALUES, SPREAD = blups(6)
CALLS = {
    "residuals": lambda **kw: residuals_against_fitted([1, 2, 3], [0.1, -0.2, 0.1], **kw),
    "quantiles": lambda **kw: quantiles([0.1, -0.2, 0.3], **kw),
    "partial": lambda **kw: partial_regression(np.array([1.0, 2, 4]), np.array([3.0, 2, 5]), np.ones((3, 1)), **kw),
    "caterpillars": lambda **kw: draw_caterpillars(VALUES[["Days"]], SPREAD, **kw),
    "marginal": lambda **kw: marginal(cells(a=["x", "y"], b=["u", "v"]), **kw),
    "caterpillar": lambda **kw: caterpillar(VALUES["Days"], population=0.2, half_width=np.ones(6), **kw),
    "forest": lambda **kw: forest(VALUES.iloc[:2, 0], [-1, -1], [1, 2], points=VALUES.T, **kw),
    "group_lines": lambda **kw: group_lines(["x", "y"], VALUES, labels=VALUES.index, population=[0, 1], **kw),
}
every_call = pytest.mark.parametrize("draw", CALLS.values(), ids=CALLS)
OLDER = {"forest": (12, 6), "group_lines": (8, 6), "caterpillar": (8, 6)}


@every_call
def test_a_figure_is_made_only_where_none_is_given(draw, ax):
    assert draw(ax=ax) is ax
    assert plt.get_fignums() == []
    axes = draw(figsize=(5, 4))
    assert plt.get_fignums() == [axes.figure.number]
    np.testing.assert_array_equal(axes.figure.get_size_inches(), (5, 4))


@every_call
def test_labels_can_be_given(draw, ax):
    draw(xlabel="across", ylabel="up", ax=ax)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("across", "up")


@pytest.mark.parametrize("name", CALLS)
def test_figures_fit_a_page_or_are_older_and_are_plain(name):
    axes = CALLS[name]()
    np.testing.assert_array_equal(axes.figure.get_size_inches(), OLDER.get(name, (7, 5)))
    axes.figure.canvas.draw()
    assert not axes.spines["top"].get_visible() and not axes.spines["right"].get_visible()


@every_call
def test_nothing_global_changes(draw, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *args, **kwargs: pytest.fail("show was called"))
    before, state = dict(matplotlib.rcParams), np.random.get_state()[1].copy()
    draw()
    assert dict(matplotlib.rcParams) == before
    np.testing.assert_array_equal(np.random.get_state()[1], state)


@every_call
def test_pictures_fit_a_panel_of_a_subfigure(draw):
    panel = plt.figure(layout="constrained").subfigures(1, 2)[1].subplots()
    assert draw(ax=panel) is panel
    panel.figure.figure.canvas.draw()


@every_call
def test_axes_without_room_can_be_drawn_on(draw):
    figure = draw(figsize=(0.2, 0.2)).figure
    with pytest.warns(UserWarning, match="constrained_layout not applied"):
        figure.canvas.draw()
    draw(ax=Figure().add_axes((0.5, 0.5, 0, 0)))


@every_call
@pytest.mark.parametrize("layout", [None, "constrained", "tight"])
def test_a_figure_of_the_user_is_left_alone(draw, layout):
    figure, (mine, other) = plt.subplots(1, 2, layout=layout)
    before, engine = [panel.get_position().bounds for panel in (mine, other)], figure.get_layout_engine()
    draw(ax=mine)
    assert [panel.get_position().bounds for panel in (mine, other)] == before
    assert figure.get_layout_engine() is engine and figure.axes == [mine, other]
    assert not figure.texts and not figure.legends
    figure.canvas.draw()


def test_matplotlib_and_scipy_wait_until_a_picture_is_asked_for():
    code = """
import sys
import pymer4.models.pictures
from pymer4.plots import forest as f, groups as g, residuals as d, marginal as m
assert not any(name.split(".")[0] in ("matplotlib", "rpy2", "scipy") for name in sys.modules)
import pandas as pd
from matplotlib.figure import Figure
d.residuals_against_fitted([1, 2], [0, 1], ax=Figure().subplots())
d.quantiles([1, 2], ax=Figure().subplots())
values = pd.Series({"a": 1.0, "b": 2.0})
f.forest(values, [0, 1], [2, 3], ax=Figure().subplots())
g.group_lines([0, 1], [[1, 2]], labels=["a"], ax=Figure().subplots())
g.caterpillars(values.to_frame(), ax=Figure().subplots())
m.marginal(pd.DataFrame({"Estimate": [1.0], "low": [0.0], "high": [2.0]}), ax=Figure().subplots())
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_million_rows_take_seconds():
    rng = np.random.default_rng(14)
    x = rng.normal(size=1_000_000)
    y = rng.normal(size=1_000_000)
    residuals_against_fitted(x, y).figure.canvas.draw()
    quantiles(y).figure.canvas.draw()


# a model that says no more of itself than it has to


class Line(Pictures, Model):
    """A straight line by least squares, with whatever prior weights and outcome it is given."""

    def __init__(self, data, weights=None, link="identity", family="gaussian"):
        super().__init__("y ~ x + z", data, family)
        self.link, self.weights = link, weights
        self.marginal_estimates = self.marginal_contrasts = None

    # What no picture asks for, or a fit sets.
    design_matrix = summary = _sample = _told = _estimate_from = _infer_from = _idle = None

    def fit(self):
        used = self._frame.notna().all(axis=1).to_numpy()
        rows = self._frame[used]
        self.design_matrix = pd.DataFrame({"Intercept": 1.0, "x": rows.x, "z": rows.z, "twice": 2 * rows.x})
        X = self.design_matrix[["Intercept", "x", "z"]].to_numpy()
        root = np.sqrt(np.ones(len(rows)) if self.weights is None else self.weights[used])
        b = np.linalg.lstsq(X * root[:, None], rows.y * root, rcond=None)[0]
        self.coefs = pd.DataFrame({"Estimate": b}, index=["Intercept", "x", "z"])
        self._keep_fits(X @ b, rows.y.to_numpy() - X @ b, used)
        self.fitted = True
        return self

    def _prior_weights(self):
        return self.weights

    def _outcome(self):
        return "y", ["y"]

    def _quantile_residuals(self, seed):
        return None


def lined(**options) -> Line:
    rng = np.random.default_rng(15)
    frame = pd.DataFrame(rng.normal(size=(50, 3)), columns=["y", "x", "z"], index=np.arange(50) * 3)
    frame.iloc[[4, 30], 1] = np.nan
    return Line(frame, **options).fit()


def test_pictures_of_any_model():
    model = lined()
    used = np.isfinite(model.fits)
    axes = model.plot_residuals()
    np.testing.assert_array_equal(points(axes), np.column_stack([model.fits, model.residuals])[used])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Fitted values (y)", "Residuals")
    axes = model.plot_qq()
    np.testing.assert_array_equal(dots(axes)[:, 1], np.sort(model.residuals[used]))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Normal quantiles", "Residuals")


@pytest.mark.parametrize("weighted", [False, True])
def test_partial_slopes_of_any_model(weighted):
    weights = np.random.default_rng(16).uniform(0.1, 9, 50) if weighted else None
    model = lined(weights=weights)
    for term, b in model.coefs["Estimate"].items():
        axes = model.plot_partial(term)
        np.testing.assert_allclose(slope(labelled(axes, "Slope")), b, rtol=LEAST_SQUARES)
        assert (axes.get_xlabel(), axes.get_ylabel()) == (f"{term} | others", "y | others")


def test_residuals_with_weights_have_equal_variances():
    weights = np.random.default_rng(17).uniform(0.1, 9, 50)
    model = lined(weights=weights)
    used = np.isfinite(model.fits)
    scaled = (np.sqrt(weights) * model.residuals)[used]
    axes = model.plot_residuals()
    np.testing.assert_allclose(points(axes)[:, 1], scaled, rtol=EXACT)
    assert axes.get_ylabel() == "Residuals × √weight"
    np.testing.assert_allclose(dots(model.plot_qq())[:, 1], np.sort(scaled), rtol=EXACT)


def test_generalized_models_draw_their_residuals_as_they_are():
    model = lined(weights=np.full(50, 4.0), link="log")
    used = np.isfinite(model.fits)
    axes = model.plot_residuals()
    np.testing.assert_array_equal(points(axes)[:, 1], model.residuals[used])
    assert axes.get_ylabel() == "Deviance residuals"
    np.testing.assert_array_equal(
        labelled(axes, "Smooth").get_ydata(), lowess(model.fits[used], model.residuals[used], iterations=0)[1]
    )
    with pytest.raises(OptionError, match=r"linear models.*'log'"):
        model.plot_partial("x")


@pytest.mark.parametrize(
    "ask",
    [
        lambda m, **kw: m.plot_residuals(**kw), lambda m, **kw: m.plot_qq(**kw),
        lambda m, **kw: m.plot_partial("x", **kw), lambda m, **kw: m.plot_marginal(**kw),
    ],
    ids=["residuals", "qq", "partial", "marginal"],
)  # fmt: skip
def test_arguments_that_all_pictures_of_a_model_take(ask):
    model = lined()
    model.marginal_estimates = cells(a=["u", "v"])
    model.marginal_estimates.attrs |= {"estimate": "emmean", "scale": "response"}
    axes = ask(model, figsize=(4, 3), xlabel="across", ylabel="up")
    np.testing.assert_array_equal(axes.figure.get_size_inches(), (4, 3))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("across", "up")
    mine = Figure().subplots()
    assert ask(model, ax=mine) is mine
    np.testing.assert_array_equal(ask(model).figure.get_size_inches(), (7, 5))
    with pytest.raises(NotFittedError, match=r"plot_\w+\(\) needs a fitted model"):
        ask(Line(pd.DataFrame({"y": [1.0]})))


def test_wrong_arguments_of_any_model():
    model = lined()
    with pytest.raises(OptionError, match=r"term='X'.*'Intercept', 'x', 'z'.*'x'"):
        model.plot_partial("X")
    with pytest.raises(OptionError, match="conf_level=2"):
        model.plot_qq(conf_level=2)
    with pytest.raises(OptionError, match="contrasts='yes'"):
        model.plot_marginal(contrasts="yes")
    with pytest.raises(NotFittedError, match=r"means or slopes.*post_hoc\(\), emmeans\(\)"):
        model.plot_marginal()
    with pytest.raises(NotFittedError, match=r"marginal contrasts.*emmeans\(\)"):
        model.plot_marginal(contrasts=True)
    assert plt.get_fignums() == []


# Lmer


def fit(formula, data, *, given=None, **options) -> Lmer:
    model = Lmer(formula, data, **(given or {}))
    model.fit(summarize=False, no_warnings=True, **options)
    return model


@pytest.fixture(scope="module")
def sleep() -> Lmer:
    return fit("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))


@pytest.fixture(scope="module")
def herds() -> Lmer:
    formula = "cbind(incidence, size - incidence) ~ period + (1 | herd)"
    return fit(formula, load_dataset("cbpp"), given={"family": "binomial"})


@pytest.fixture(scope="module")
def oats() -> Lmer:
    return fit("yield ~ Variety * nitro + (1 | Block)", load_dataset("Oats"))


@pytest.fixture(scope="module")
def crossed() -> Lmer:
    """Weights, an offset, two grouping factors, a factor, an interaction, and a missing value."""
    rng = np.random.default_rng(18)
    n = 300
    frame = pd.DataFrame({"g": np.arange(n) // 15, "item": [f"i{k % 15:02d}" for k in range(n)]})
    frame["x"], frame["o"], frame["w"] = rng.normal(3, 1, n), rng.normal(size=n), rng.uniform(0.3, 4, n)
    frame["arm"] = rng.choice(["a", "b"], n)
    effects = (
        rng.normal(size=20)[frame.g] + rng.normal(size=15)[np.arange(n) % 15] + rng.normal(size=20)[frame.g] * frame.x
    )
    frame["y"] = frame.x * (1 + (frame.arm == "b")) + frame.o + effects + rng.normal(size=n) / np.sqrt(frame.w)
    frame.loc[17, "x"] = np.nan
    return fit("y ~ x * arm + (x | g) + (1 | item)", frame, given={"weights": "w", "offset": "o"})


def in_r(model, function: str) -> np.ndarray:
    """Return the numbers that an R function of the fitted model gives."""
    return np.array(list(rinterface.evalr(function)(model.model_obj)))


@r
def test_residuals_of_a_mixed_model(sleep):
    axes = sleep.plot_residuals()
    np.testing.assert_array_equal(points(axes), np.column_stack([sleep.fits, sleep.residuals]))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Fitted values (Reaction)", "Residuals")
    smooth = in_r(sleep, "function(m) lowess(fitted(m), residuals(m), delta = 0)$y")
    line = labelled(axes, "Smooth")
    assert np.abs(line.get_ydata() - smooth).max() < 1e-8 * np.ptp(smooth)  # fits and residuals cross as text nowhere


@r
def test_quantiles_of_a_mixed_model(sleep):
    axes = sleep.plot_qq(conf_level=0.9)
    expected = in_r(sleep, "function(m) { q <- qqnorm(residuals(m), plot.it = FALSE); c(sort(q$x), sort(q$y)) }")
    np.testing.assert_allclose(dots(axes).T.ravel(), expected, atol=1e-9)
    assert axes.get_ylabel() == "Residuals"
    wider = sleep.plot_qq(conf_level=99)
    at = dots(axes)[:, 0]
    assert (edge(wider, at)[1] > edge(axes, at)[1]).all()


@r
def test_residuals_with_prior_weights_are_pearsons(crossed):
    used = np.isfinite(crossed.fits)
    expected = in_r(crossed, "function(m) residuals(m, type = 'pearson')")
    found = points(crossed.plot_residuals())
    np.testing.assert_allclose(found[:, 0], crossed.fits[used], rtol=EXACT)
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-9)


@r
def test_residuals_of_a_generalized_model(herds):
    axes = herds.plot_residuals()
    means = in_r(herds, "function(m) predict(m, re.form = NA, type = 'response')")
    np.testing.assert_allclose(points(axes)[:, 0], means, rtol=1e-12)
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "Fitted probabilities of the population (incidence)",
        "Quantile residuals",
    )
    with pytest.raises(OptionError, match="binomial"):
        herds.plot_partial("period2")


@r
@pytest.mark.parametrize("which", ["sleep", "crossed", "oats"])
def test_partial_slopes_are_the_fixed_effects(which, request):
    """Given the predicted random effects, Henderson's equations make the fixed effects a least squares fit."""
    model = request.getfixturevalue(which)
    for term, b in model.coefs["Estimate"].items():
        axes = model.plot_partial(term)
        np.testing.assert_allclose(slope(labelled(axes, "Slope")), b, rtol=1e-6)  # as far as lme4's own equations hold
        left = points(axes)
        residuals = model.residuals[np.isfinite(model.residuals)]
        np.testing.assert_allclose(left[:, 1] - b * left[:, 0], residuals, atol=1e-6 * np.ptp(residuals))
    assert axes.get_ylabel() == f"{'Reaction' if which == 'sleep' else 'yield' if which == 'oats' else 'y'} | others"


# R's conditional standard deviations: a row a group, a column a term, column by column.
SPREAD_IN_R = """function(m, g) {
    r <- lme4::ranef(m, condVar = TRUE)[[g]]
    v <- attr(r, "postVar")
    if (is.list(v)) v <- v[[1]]
    as.vector(sqrt(t(apply(v, 3, diag))))
}"""


@r
@pytest.mark.parametrize("order", ["value", "first", "given"])
def test_random_effects_are_drawn_with_rs_intervals(sleep, order):
    panels = sleep.plot_ranef(order=order)
    spread = rinterface.evalr(SPREAD_IN_R)(sleep.model_obj, rinterface.StrSexpVector(["Subject"]))
    spread = pd.DataFrame(np.reshape(list(spread), (18, 2), order="F"), sleep.ranef.index, sleep.ranef.columns)
    for panel, term in zip(panels, sleep.ranef.columns, strict=True):
        by = {"value": term, "first": "(Intercept)"}.get(order)
        groups = sleep.ranef.index[::-1] if by is None else sleep.ranef[by].sort_values().index
        np.testing.assert_array_equal(dots(panel)[:, 0], sleep.ranef.loc[groups, term])
        half = Z * spread.loc[groups, term]
        ends = np.column_stack([sleep.ranef.loc[groups, term] - half, sleep.ranef.loc[groups, term] + half])
        np.testing.assert_allclose(bars(panel)[:, :, 0], ends, rtol=1e-7)
        assert (panel.get_title(), panel.get_xlabel()) == (term, "Deviation from the population")
    assert panels[0].get_ylabel() == "Subject"


@r
def test_the_other_arguments_of_random_effects(crossed, sleep):
    axes = crossed.plot_ranef((4, 3), "across", "up", ranef_idx="item")
    assert isinstance(axes, Axes)
    np.testing.assert_array_equal(np.sort(dots(axes)[:, 0]), np.sort(crossed.ranef[1]["(Intercept)"]))
    np.testing.assert_array_equal(axes.figure.get_size_inches(), (4, 3))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("across", "up")
    by_place = crossed.plot_ranef(ranef_idx=1)
    np.testing.assert_array_equal(dots(by_place), dots(axes))
    few = crossed.plot_ranef(grps=[3, "7", 11], order="given", terms=["x"])
    assert names(few, "y") == ["11", "7", "3"]
    np.testing.assert_array_equal(dots(few)[::-1, 0], crossed.ranef[0].loc[["3", "7", "11"], "x"])
    level = sleep.plot_ranef(terms="Days", conf_level=0.5)
    se = sleep.ranef_se.loc[sleep.ranef["Days"].sort_values().index, "Days"]
    widths = np.diff(bars(level)[:, :, 0], axis=1)[:, 0]
    np.testing.assert_allclose(widths, 2 * stats.norm.ppf(0.75) * se, rtol=1e-9)
    mine = Figure().subplots(1, 2)
    assert list(sleep.plot_ranef(ax=mine)) == list(mine)


@r
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ranef_idx": "itm"}, r"ranef_idx='itm'.*0 \(g\), 1 \(item\).*'item'"), ({"ranef_idx": 2}, "ranef_idx=2"),
        ({"ranef_idx": True}, "ranef_idx=True"), ({"terms": "z"}, r"terms='z'.*'\(Intercept\)', 'x'"),
        ({"grps": ["99"]}, "99"), ({"order": "down"}, "order='down'"), ({"conf_level": 0}, "conf_level"),
    ],
)  # fmt: skip
def test_wrong_arguments_of_random_effects(crossed, options, message):
    with pytest.raises(OptionError, match=message):
        crossed.plot_ranef(**options)
    assert plt.get_fignums() == []


@r
def test_random_effects_need_a_fit():
    with pytest.raises(NotFittedError, match=r"plot_ranef\(\)"):
        Lmer("Reaction ~ Days + (1 | Subject)", load_dataset("sleepstudy")).plot_ranef()


@r
def test_marginal_means_are_those_of_the_last_call(oats):
    means, differences = oats.emmeans("Variety", by="nitro", at={"nitro": [0, 0.6]})
    axes = oats.plot_marginal()
    found = drawn_estimates(axes, 2)
    for nitro, each in zip([0, 0.6], found, strict=True):
        np.testing.assert_array_equal(each[:, 1:], means.loc[means.nitro == nitro, LIMITS])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Variety", "Marginal mean (yield)")
    axes = oats.plot_marginal(contrasts=True)
    (guide,) = [line for line in axes.lines if set(line.get_xdata()) == {0}]
    found = np.concatenate([line.get_xdata() for line in axes.lines if line is not guide])
    np.testing.assert_array_equal(np.sort(found), np.sort(differences["Estimate"]))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Difference (yield)", "")


@r
def test_a_covariate_of_marginal_means_is_a_line(oats):
    at = [0, 0.1, 0.2, 0.4, 0.6]
    means, _ = oats.emmeans("nitro", at={"nitro": at})
    axes = oats.plot_marginal()
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), means[["nitro", "Estimate"]])
    np.testing.assert_allclose(edge(axes, at), means[["2.5_ci", "97.5_ci"]].T, rtol=EXACT)


@r
def test_numbers_that_the_formula_makes_levels_of_are_categories():
    model = fit("yield ~ factor(nitro) + Variety + (1 | Block)", load_dataset("Oats"))
    model.emmeans("nitro")
    assert names(model.plot_marginal()) == ["0", "0.2", "0.4", "0.6"]


@r
def test_slopes_and_no_contrasts(oats):
    oats.emtrends("nitro", contrasts=None)
    axes = oats.plot_marginal()
    assert (names(axes), axes.get_ylabel()) == (["overall"], "Slope of nitro (yield)")
    with pytest.raises(NotFittedError, match="contrasts"):
        oats.plot_marginal(contrasts=True)


@r
def test_scales_of_a_generalized_model_are_told(herds):
    herds.emmeans("period")
    assert herds.plot_marginal().get_ylabel() == "Probability (incidence)"
    assert herds.plot_marginal(contrasts=True).get_xlabel() == "Odds ratio (incidence)"
    herds.post_hoc("period", summarize=False)
    assert herds.plot_marginal().get_ylabel() == "Marginal mean (log odds of incidence)"
    assert herds.plot_marginal(contrasts=True).get_xlabel() == "Difference (log odds of incidence)"


@r
def test_scales_of_a_transformed_outcome_are_told():
    model = fit("log(yield) ~ Variety * nitro + (1 | Block)", load_dataset("Oats"))
    model.emmeans("Variety", at={"nitro": 0})
    assert model.plot_marginal().get_ylabel() == "Marginal mean (yield)"
    assert model.plot_marginal(contrasts=True).get_xlabel() == "Ratio (yield)"
    model.post_hoc("Variety", summarize=False)
    assert model.plot_marginal().get_ylabel() == "Marginal mean (log(yield))"
    model.emtrends("nitro", type="response")
    assert model.plot_marginal().get_ylabel() == "Slope of nitro"
    model.emtrends("nitro")
    assert model.plot_marginal().get_ylabel() == "Slope of nitro (log(yield))"
    assert model.plot_residuals().get_xlabel() == "Fitted values (log(yield))"


@r
def test_drawing_leaves_the_model_as_it_was(sleep):
    before = json.dumps([sleep.coefs.to_dict(), sleep.data.to_dict("list")], default=str)
    sleep.plot_residuals(), sleep.plot_qq(), sleep.plot_partial("Days"), sleep.plot_ranef()
    assert json.dumps([sleep.coefs.to_dict(), sleep.data.to_dict("list")], default=str) == before
    assert len(plt.get_fignums()) == 4
