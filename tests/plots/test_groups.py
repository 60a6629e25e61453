"""Lines and caterpillars of groups."""

from __future__ import annotations

import artists
import numpy as np
import pandas as pd
import pytest
from artists import bars, dots, drawn, labelled, names
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from scipy import stats

from pymer4.errors import DataError
from pymer4.plots.axes import MANY
from pymer4.plots.groups import caterpillar, caterpillars, group_lines

GROUPS = pd.DataFrame(
    {"(Intercept)": [253.66, 211.01, 212.45, 275.10], "Days": [19.67, 1.85, 5.02, 5.65]},
    index=["308", "309", "310", "330"],
)
X = np.linspace(0, 9, 10)
CURVES = GROUPS["(Intercept)"].to_numpy()[:, None] + GROUPS["Days"].to_numpy()[:, None] * X
POPULATION = 251.405 + 10.467 * X
EXACT = 1e-12  # relative: the same few products in another order


def fan(count: int) -> np.ndarray:
    """Return that many parallel lines."""
    return np.arange(count)[:, None] + np.outer(np.ones(count), X)


# group_lines


def test_few_groups_are_told_apart():
    axes = group_lines(X, CURVES, labels=GROUPS.index, population=POPULATION, xlabel="Days", ylabel="Reaction")
    for name, curve in zip(GROUPS.index, CURVES, strict=True):
        np.testing.assert_array_equal(labelled(axes, name).get_xydata(), np.column_stack([X, curve]))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["308", "330", "310", "309", "Population"]
    assert artists.labels(axes) == ("Days", "Reaction")


@pytest.mark.parametrize("count", [8, 9, 12])
def test_up_to_twelve_lines_have_a_name_and_a_look_each(count):
    axes = group_lines(X, fan(count), labels=range(count), population=POPULATION)
    assert len(axes.get_legend().get_texts()) == count + 1
    assert len({(line.get_color(), str(line._dash_pattern)) for line in axes.lines}) == count + 1
    artists.check_texts(axes.figure)


def test_the_population_is_thick_and_on_top_of_its_band(ax):
    low, high = POPULATION - 10, POPULATION + 20
    group_lines(X, CURVES, labels=GROUPS.index, population=POPULATION, limits=(low, high), ax=ax)
    line, (band,) = labelled(ax, "Population"), [c for c in ax.collections if isinstance(c, PolyCollection)]
    np.testing.assert_array_equal(line.get_ydata(), POPULATION)
    np.testing.assert_array_equal(artists.band(ax, X), [low, high])
    groups = [other for other in ax.lines if other is not line]
    assert line.get_linewidth() > max(other.get_linewidth() for other in groups)
    assert line.get_zorder() > band.get_zorder() > max(other.get_zorder() for other in groups)


@pytest.mark.parametrize(
    ("curves", "population", "lines"), [(CURVES, POPULATION, 5), (CURVES, None, 4), (np.empty((0, 10)), POPULATION, 1)]
)
def test_parts_can_be_left_out(ax, curves, population, lines):
    group_lines(X, curves, labels=range(len(curves)), population=population, ax=ax)
    assert len(ax.lines) == lines and not ax.collections and (ax.get_legend() is None) == (lines == 1)


@pytest.mark.parametrize("count", [13, 18, 3000])
def test_lines_of_many_groups_are_one_artist(ax, count):
    group_lines(X, fan(count), labels=range(count), population=POPULATION, ax=ax)
    (bundle,) = ax.collections
    np.testing.assert_array_equal(bundle.get_segments(), np.stack(np.broadcast_arrays(X, fan(count)), axis=-1))
    assert ax.get_legend() is None and len(ax.lines) == 1
    assert bool(bundle.get_rasterized()) == (count > MANY)
    assert ax.get_ylim()[1] >= fan(count).max() and ax.get_xlim()[0] <= 0 and ax.get_xlim()[1] >= 9
    more = group_lines(X, fan(2 * count), labels=range(2 * count), ax=Figure().subplots())
    assert 0 < more.collections[0].get_alpha() < bundle.get_alpha()


@pytest.mark.parametrize(("x", "at"), [(["placebo", "low", "high"], [0, 1, 2]), ([3.0], [3.0])])
def test_categories_and_single_places_have_marks_that_are_joined(ax, x, at):
    curves, population = CURVES[:, : len(x)], POPULATION[: len(x)]
    limits = population - 5, population + 7
    group_lines(x, curves, labels=GROUPS.index, population=population, limits=limits, ax=ax)
    np.testing.assert_array_equal(labelled(ax, "309").get_xydata(), np.column_stack([at, curves[1]]))
    assert {line.get_marker() for line in ax.lines} == {"o"} and labelled(ax, "309").get_linestyle() == "-"
    np.testing.assert_array_equal(bars(ax), [[[i, p - 5], [i, p + 7]] for i, p in zip(at, population, strict=True)])
    assert names(ax) == x or len(x) == 1


def test_categories_of_many_groups_are_joined_and_marked(ax):
    curves = np.tile(CURVES[:, :3], (5, 1))
    group_lines(pd.Series(["a", "b", "c"], dtype="category"), curves, labels=range(20), ax=ax)
    (bundle,), (marks,) = ax.collections, ax.lines
    assert len(bundle.get_segments()) == 20
    np.testing.assert_array_equal(marks.get_xydata(), np.column_stack([np.tile([0, 1, 2], 20), curves.ravel()]))


def test_categories_meet_those_that_are_there(ax):
    ax.scatter(["high", "placebo"], [1, 2])
    group_lines(["placebo", "high", "low"], CURVES[:, :3], labels=GROUPS.index, ax=ax)
    np.testing.assert_array_equal(labelled(ax, "308").get_xdata(), [1, 0, 2])
    ax.figure.canvas.draw()
    assert names(ax) == ["high", "placebo", "low"]


@pytest.mark.parametrize("count", [1, 18])
def test_missing_values_leave_gaps(ax, count):
    curves = np.tile(CURVES[:1], (count, 1))
    curves[0, 4] = np.nan
    limits = np.where(X == 9, np.nan, POPULATION - 1), POPULATION + 1
    group_lines(X, curves, labels=range(count), population=POPULATION, limits=limits, ax=ax)
    ax.figure.canvas.draw()
    assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
    assert ax.get_ylim()[1] >= np.nanmax(curves)


@pytest.mark.parametrize("figsize", [(4, 3), (12, 6)])
@pytest.mark.parametrize(
    ("count", "name"), [(3, "{}. Variety"), (6, "level {}"), (12, "behavioural therapy {}"), (40, "s{}")]
)
def test_names_beside_a_legend_stay_apart(count, name, figsize):
    curves = np.outer(np.arange(9), np.ones(count))
    levels, told = [name.format(i) for i in range(count)], "The effect does not vary between groups: parallel lines."
    axes = group_lines(
        levels, curves, labels=range(9), population=curves[4], figsize=figsize, xlabel="level", ylabel="y", note=told
    )
    artists.check_texts(axes.figure)
    assert artists.note(axes) == told


# caterpillars


def blups(count: int, terms=("(Intercept)", "Days"), name="s{:04d}") -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(count)
    where = {"index": [name.format(i) for i in range(count)], "columns": list(terms)}
    shape = count, len(terms)
    return pd.DataFrame(rng.normal(size=shape), **where), pd.DataFrame(rng.uniform(0.1, 1, shape), **where)


def test_a_caterpillar_sorts_groups_and_draws_the_population(ax):
    values = GROUPS["(Intercept)"]
    caterpillar(values, population=251.4, limits=(238.0, 264.8), xlabel="b", ylabel="Subject", ax=ax)
    line = labelled(ax, "Population")
    np.testing.assert_array_equal(dots(ax), np.column_stack([np.sort(values), range(4)]))
    assert names(ax, "y") == ["309", "310", "308", "330"]
    assert ax.get_ylim() == (-0.5, 3.5)
    np.testing.assert_array_equal(line.get_xdata(), [251.4, 251.4])
    np.testing.assert_allclose(artists.span(ax), [238.0, 264.8])
    assert artists.labels(ax) == ("b", "Subject")
    assert ax.patches[0].get_zorder() < line.get_zorder() < ax.lines[1].get_zorder()


def test_groups_without_a_value_are_left_out(ax):
    values = GROUPS["Days"].copy()
    values["309"] = np.nan
    half = np.array([1.0, 1.0, np.nan, 1.0])
    caterpillar(values, half_width=half, population=10.0, limits=(np.nan, np.nan), ax=ax)
    assert names(ax, "y") == ["310", "330", "308"]
    assert not ax.patches
    ends = [bar for bar in ax.collections[0].get_segments() if len(bar) == 2 and np.isfinite(bar).all()]
    np.testing.assert_allclose([bar[:, 0] for bar in ends], [[4.65, 6.65], [18.67, 20.67]], rtol=EXACT)
    ax.figure.canvas.draw()
    with pytest.raises(DataError, match="No group has a value"):
        caterpillar(values * np.nan, ax=ax)


@pytest.mark.parametrize("order", ["value", "first", "given"])
@pytest.mark.parametrize(("count", "level"), [(5, 0.5), (300, 0.95), (3000, 0.95)])
def test_groups_are_ordered_with_their_intervals(count, order, level):
    values, se = blups(count)
    panels = caterpillars(values, se[::-1], order=order, conf_level=level, xlabel="Deviation", ylabel="Subject")
    assert panels.shape == (2,)
    for panel, term in zip(panels, values.columns, strict=True):
        by = {"value": term, "first": "(Intercept)"}.get(order)
        ordered = values[::-1] if by is None else values.sort_values(by, kind="stable")
        np.testing.assert_array_equal(dots(panel), np.column_stack([ordered[term], np.arange(count)]))
        half = stats.norm.ppf((1 + level) / 2) * se.loc[ordered.index, term]
        ends = np.column_stack([ordered[term] - half, ordered[term] + half])
        np.testing.assert_allclose(bars(panel)[:, :, 0], ends, rtol=EXACT, atol=1e-15)
        assert (panel.get_title(), panel.get_xlabel()) == (term, "Deviation")
        (zero,) = [line for line in panel.lines if set(line.get_xdata()) == {0}]
        assert zero.get_zorder() < min(artist.get_zorder() for artist in drawn(panel) if artist is not zero)
        (collection,) = panel.collections
        assert bool(collection.get_rasterized()) == (count > MANY)
    if count == 5:
        expected = values[::-1] if order == "given" else values.sort_values("(Intercept)")
        assert names(panels[0], "y") == list(expected.index)
        assert panels[1].yaxis.get_tick_params().get("labelleft", True) == (order == "value")
    assert [panel.get_ylabel() for panel in panels] == ["Subject" if count == 5 else f"Subject ({count:,} groups)", ""]


@pytest.mark.parametrize("count", [1, 18, 45, 46, 200])
def test_groups_are_named_while_their_names_can_be_read(count):
    panels = caterpillars(*blups(count))
    np.testing.assert_array_equal(panels[0].figure.get_size_inches(), (7, 5))
    artists.check_texts(panels[0].figure)
    assert len(names(panels[0], "y")) == (count if count < 35 else 0)
    assert panels[0].get_ylabel() == ("" if count < 35 else f"{count} groups")
    assert caterpillar(blups(count)[0]["Days"], ylabel="School").get_ylabel() == (
        "School" if count < 45 else f"School ({count} groups)"
    )


@pytest.mark.parametrize(
    ("terms", "count", "name", "figsize"),
    [(list("abcde")[:n], 25, "a primary school with a long name, number {}", None) for n in (1, 2, 5)]
    + [(["(Intercept)", "baseline anxiety of the group", "x"], 5, "s{}", figsize) for figsize in ((5, 3), None)],
)
def test_texts_of_panels_do_not_meet(terms, count, name, figsize):
    how = {"xlabel": "Deviation from it", "ylabel": "School", "figsize": figsize}
    panels = np.ravel(caterpillars(*blups(count, terms, name), **how))
    artists.check_texts(panels[0].figure)
    least = (0.3 if figsize is None else 0.2) * panels[0].figure.bbox.width / min(len(panels), 4)
    assert min(panel.get_window_extent().width for panel in panels) > least


def test_a_single_term_needs_no_panels(ax):
    assert caterpillars(*blups(8, ["(Intercept)"]), xlabel="Deviation", ax=ax) is ax
    assert (ax.get_title(), *artists.labels(ax)) == ("", "Deviation", "")


# on what is there


@pytest.mark.parametrize("count", [4, 18])
def test_lines_go_behind_what_is_there_and_behind_each_other(ax, count):
    ax.scatter([0, 9], [200, 450], zorder=1)
    ax.axhline(300)
    ax.set(xlabel="mine", ylabel="also mine")
    curves, limits = np.tile(CURVES, (5, 1))[:count], (POPULATION - 1, POPULATION + 1)
    for _ in range(2):
        there = drawn(ax)
        lowest = min(artist.get_zorder() for artist in there)
        group_lines(X, curves, labels=range(count), population=POPULATION, limits=limits, note="said", ax=ax)
        added = [artist for artist in drawn(ax) if artist not in there]
        assert len(added) == (count if count <= 8 else 1) + 2
        assert max(artist.get_zorder() for artist in added) < lowest
    assert (*artists.labels(ax), artists.note(ax)) == ("mine", "also mine", "")
    assert ax.get_legend() is None and ax.spines["top"].get_visible()


def test_a_caterpillar_goes_behind_what_is_there(ax):
    (mine,) = ax.plot([250, 260], [0, 1], zorder=1.5)
    how = {"population": 251.4, "limits": (238.0, 264.8), "half_width": np.full(4, 3.0)}
    assert caterpillar(GROUPS["(Intercept)"], **how, ax=ax) is ax
    assert len([c for c in ax.collections if isinstance(c, LineCollection)]) == 1
    assert max(artist.get_zorder() for artist in drawn(ax) if artist is not mine) < 1.5
    assert ax.spines["left"].get_visible()
