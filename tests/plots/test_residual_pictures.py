"""Residuals against fitted values with their smooth line, normal quantiles, partial regressions."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from against_r import ask
from artists import band, dots, labelled, points, slope
from matplotlib.collections import PathCollection, PolyCollection
from scipy import stats

from pymer4.errors import DataError
from pymer4.fit.lowess import lowess
from pymer4.plots.residuals import POINTS, partial_regression, quantiles, residuals_against_fitted

pytestmark = pytest.mark.numeric

EXACT = 1e-12  # relative: the same few products in another order
SAME_AS_R = 1e-10  # relative to the range: one algorithm, summed in another order
LEAST_SQUARES = 1e-8  # relative: a slope found by two regressions
r = pytest.mark.r


@cache
def samples() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return what lines are laid through, x and y."""
    rng = np.random.default_rng(1)
    x = {
        "even": rng.uniform(0, 10, 180),
        "skewed": rng.gamma(1, size=1000),
        "seven": rng.normal(size=7),
        "ties": rng.integers(0, 4, 60).astype(float),
        "two": rng.integers(0, 2, 40).astype(float),
        "uneven": rng.choice([0.0, 1.0, 5.0], 200, p=[0.8, 0.1, 0.1]),
    }
    drawn = {kind: (each, np.sin(each) + rng.standard_t(2, size=each.size)) for kind, each in x.items()}
    many = rng.normal(size=6000)
    return {**drawn, "many": (many, np.sin(many) + 0.2 * rng.standard_t(3, size=6000))}


# the smooth line


@cache
def lines_of_r() -> dict[str, np.ndarray]:
    arrays = {f"{name}_{kind}": each for kind, xy in samples().items() for name, each in zip("xy", xy, strict=True)}
    lines = "\n".join(
        f"l <- lowess(x_{kind}, y_{kind}, f = 2/3, iter = {k}, delta = 0); answer$l{k}_{kind} <- rbind(l$x, l$y)"
        for kind in samples()
        for k in (0, 3)
    )
    return ask(lines, **arrays)


@r
@pytest.mark.parametrize(
    ("kind", "iterations"), [(kind, k) for kind in samples() for k in (0, 3) if (kind, k) != ("many", 0)]
)
def test_the_line_is_that_of_r(kind, iterations):
    x, expected = lines_of_r()[f"l{iterations}_{kind}"]
    at, line = lowess(*samples()[kind], iterations=iterations)
    # Many points are averages of six neighbours each, read between 200 places: a hundredth of the range is a pixel or
    # two.
    exact = SAME_AS_R if kind != "many" else 0.01
    assert np.abs(np.interp(x, at, line) - expected).max() < exact * np.ptp(expected)
    assert at[0] == x.min() and at[-1] == x.max() and at.size <= min(x.size, 1000 if kind != "many" else 200)


def test_the_line_does_not_depend_on_the_order_of_rows():
    x, y = samples()["even"]
    order = np.random.default_rng(3).permutation(x.size)
    np.testing.assert_allclose(lowess(x[order], y[order]), lowess(x, y), rtol=EXACT)


@pytest.mark.parametrize(
    ("x", "y", "line"),
    [([1.0], [2.0], [2.0]), ([1.0, 2.0], [5.0, 3.0], [5.0, 3.0]), ([0.0, 0.0, 1.0], [1.0, 3.0, 9.0], [2.0, 9.0])],
)
def test_few_points_have_a_line(x, y, line):
    np.testing.assert_allclose(lowess(x, y, iterations=0)[1], line, rtol=EXACT)


# residuals against fitted values


@pytest.mark.parametrize("robust", [True, False])
def test_residuals_are_drawn_with_their_line(ax, robust):
    x, y = samples()["even"]
    gaps = [np.nan, 1.0, 2.0], [0.3, np.nan, np.inf]
    assert residuals_against_fitted(*np.hstack([(x, y), gaps]), robust=robust, ax=ax) is ax
    np.testing.assert_array_equal(points(ax), np.column_stack([x, y]))
    line = lowess(x, y, iterations=3 if robust else 0)
    np.testing.assert_array_equal(labelled(ax, "Smooth").get_xydata(), np.transpose(line))
    assert any(set(line.get_ydata()) == {0} for line in ax.lines)


@pytest.mark.parametrize("count", [1, 40])
def test_one_fitted_value_has_no_line(ax, count):
    residuals_against_fitted(np.full(count, 3.0), np.arange(count, dtype=float), ax=ax)
    assert len(ax.lines) == 1
    ax.figure.canvas.draw()


@pytest.mark.parametrize("kind", ["spread", "columns", "flat", "single"])
def test_many_residuals_are_counted_with_a_key_unless_axes_are_given(ax, kind):
    rng, n = np.random.default_rng(5), POINTS + 1000
    spread, ones = rng.normal(size=(2, n)), np.ones(n)
    x, y = {
        "spread": spread,
        "columns": (rng.integers(0, 3, n), spread[1]),
        "flat": (spread[0], 0 * ones),
        "single": (ones, 0 * ones),
    }[kind]
    axes = residuals_against_fitted(x, y)
    (cells,) = [c for c in axes.collections if isinstance(c, PolyCollection)]
    assert cells.get_array().sum() == n
    assert cells.get_rasterized()
    assert not any(isinstance(c, PathCollection) for c in axes.collections)
    assert [each.get_ylabel() for each in axes.figure.axes[1:]] == ["Rows"]
    axes.figure.canvas.draw()
    residuals_against_fitted(x, y, ax=ax)
    assert ax.figure.axes == [ax]


@pytest.mark.parametrize("given", [([np.nan], [1.0]), ([], [])])
def test_residuals_that_make_no_picture_are_refused(ax, given):
    with pytest.raises(DataError, match="nothing to draw"):
        residuals_against_fitted(*given, ax=ax)


# normal quantiles


@r
@pytest.mark.parametrize("n", [5, 10, 11, 60])
def test_quantiles_and_their_line_are_those_of_r(ax, n):
    y = np.random.default_rng(n).gamma(2, size=n)
    code = """
    line <- qqline
    told <- function(a, b, ...) answer <<- list(x = sort(qqnorm(y, plot.it = FALSE)$x), line = c(a, b))
    environment(line) <- list2env(list(abline = told), parent = asNamespace("stats"))
    line(y)
    """
    expected = ask(code, y=y)
    quantiles(y, ax=ax)
    np.testing.assert_allclose(dots(ax)[:, 0], expected["x"], atol=1e-14)
    np.testing.assert_array_equal(dots(ax)[:, 1], np.sort(y))
    line, (intercept, steepness) = labelled(ax, "Normal"), expected["line"]
    np.testing.assert_allclose(slope(line), steepness, rtol=EXACT)
    np.testing.assert_allclose(line.get_ydata(), intercept + steepness * line.get_xdata(), rtol=EXACT)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("is_standard", [False, True])
def test_line_and_band_are_those_of_order_statistics(ax, level, is_standard):
    n = 40
    y = np.random.default_rng(8).normal(3, 2, n)
    quantiles(y, conf_level=level, is_standard=is_standard, ax=ax)
    line, x = labelled(ax, "Normal"), dots(ax)[:, 0]
    at = np.interp(stats.norm.ppf([0.25, 0.75]), line.get_xdata(), line.get_ydata())
    np.testing.assert_allclose(
        at, stats.norm.ppf([0.25, 0.75]) if is_standard else np.quantile(y, [0.25, 0.75]), rtol=EXACT
    )
    i = np.arange(1, n + 1)
    middle = np.interp(0, line.get_xdata(), line.get_ydata())
    ends = (stats.beta.ppf(p, i, n - i + 1) for p in ((1 - level) / 2, (1 + level) / 2))
    expected = [middle + slope(line) * stats.norm.ppf(end) for end in ends]
    np.testing.assert_allclose(band(ax, x), expected, rtol=1e-9)


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
    (area,) = ax.collections
    assert len(area.get_paths()[0].vertices) < 2000
    assert np.isfinite(band(ax, found[[0, -1], 0])).all()


def test_a_million_rows_are_drawn():
    x, y = np.random.default_rng(14).normal(size=(2, 1_000_000))
    for axes in (residuals_against_fitted(x, y), quantiles(y)):
        axes.figure.canvas.draw()


@pytest.mark.parametrize("values", [[2.0], [2.0, 2.0, 2.0], [1.0, np.nan, 2.0]])
@pytest.mark.parametrize("level", [None, 0.9])
def test_few_or_equal_residuals_can_be_drawn(ax, values, level):
    quantiles(values, conf_level=level, ax=ax)
    np.testing.assert_array_equal(dots(ax)[:, 1], np.array(values)[np.isfinite(values)])
    assert len(ax.collections) == (level is not None)
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
    line, left = labelled(ax, "Slope"), points(ax)
    np.testing.assert_allclose(slope(line), b[0], rtol=LEAST_SQUARES)
    np.testing.assert_allclose(left[:, 1] - b[0] * left[:, 0], y - both @ b, atol=1e-10)
    np.testing.assert_allclose((others * root**2).T @ left, 0, atol=1e-9)
    np.testing.assert_allclose(line.get_xdata(), [left[:, 0].min(), left[:, 0].max()], rtol=EXACT)
    sizes = ax.collections[0].get_sizes()
    np.testing.assert_allclose(sizes / sizes[0], w / w[0] if weighted else 1.0, rtol=EXACT)


@pytest.mark.parametrize(("weight", "label"), [(None, "Rows"), (2.0, "Sum of weights")])
def test_many_rows_are_counted_with_their_weights(weight, label):
    x, y = np.random.default_rng(12).normal(size=(2, POINTS + 500))
    w = None if weight is None else np.full(x.size, weight)
    axes = partial_regression(x, y, np.ones((x.size, 1)), weights=w)
    (cells,) = [c for c in axes.collections if isinstance(c, PolyCollection)]
    np.testing.assert_allclose(cells.get_array().sum(), x.size * (weight or 1), rtol=EXACT)
    assert axes.figure.axes[1].get_ylabel() == label


def test_a_column_that_the_others_add_up_to_is_refused(ax):
    others = np.random.default_rng(13).normal(size=(30, 2))
    with pytest.raises(DataError, match="add up"):
        partial_regression(others.sum(axis=1), others[:, 0], others, ax=ax)
