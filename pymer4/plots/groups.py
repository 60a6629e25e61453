"""Pictures of groups: one line a group along a predictor, or one number a group, in order, with its interval.

Groups are named while their names can be read, and counted when they can't.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from pymer4.errors import DataError, one_of
from pymer4.fit.ties import settled
from pymer4.plots import axes
from pymer4.plots.forest import DISTINCT, GROUP, GUIDE, INK, MANY, STROKES, matching

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from pandas import DataFrame, Series

Order = Literal["value", "first", "given"]
"""How groups are ordered from the bottom up."""

NAMED = 12  # groups that a legend names; more are counted
_ROUNDING = 1e-9  # relative; curves closer than that are one line
_WIDE = 3  # panels in a row


def group_lines(
    x: ArrayLike | Sequence[str],
    curves: ArrayLike,
    *,
    labels: Sequence[object],
    population: ArrayLike | None = None,
    lower: ArrayLike | None = None,
    upper: ArrayLike | None = None,
    figsize: tuple[float, float] = (8, 6),
    xlabel: str = "",
    ylabel: str = "",
    note: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw one thin line a group, and the population's, thick, with its band.

    Up to twelve groups get a colour, or a kind of line, and a legend entry each. More are drawn as one collection in
    one colour, the lighter the more there are, and as pixels in a vector file from 500 on. On axes that hold
    a picture already everything goes behind it, and legend and dress are left as they are.

    Args:
        x: where the curves were computed, ascending; or categories, whose values are marked and joined,
            and whose population limits are bars, as nothing lies between them.
        curves: one row a group, one column an `x`; NaN leaves a gap.
        labels: one a group.
        population: the population's values at `x`.
        lower: lower limits of the population at `x`.
        upper: upper limits of the population at `x`.
        figsize: inches, where a figure has to be made.
        xlabel: label of the x axis; empty keeps what is there.
        ylabel: label of the y axis; empty keeps what is there.
        note: what the curves depend on, written small under the x axis of axes that hold nothing yet.
        ax: axes to draw on.

    Returns:
        The axes drawn on.

    Raises:
        DataError: where rows and labels, or columns and `x`, don't match.

    Example:
        >>> from matplotlib.figure import Figure
        >>> curves = [[253.7, 430.7], [211.0, 227.6]]
        >>> ax = group_lines([0, 9], curves, labels=["308", "309"], ax=Figure().subplots())
        >>> [line.get_label() for line in ax.lines]
        ['308', '309']
    """
    names = [str(label) for label in labels]
    values = matching("curves", curves, (len(names), len(x)))
    made, ax = ax is None, axes.dress(ax, figsize)
    blank, floor = not ax.has_data(), axes.floor(ax)
    at, categories = axes.positions(ax, x)
    steps = categories or len(at) == 1
    marker = "o" if steps else ""
    if len(names) > NAMED:
        _bundle(ax, at, values, marker, floor + 0.1)
    else:
        for i, (line, name) in enumerate(zip(values, names, strict=True)):
            look = {"color": DISTINCT[i % len(DISTINCT)], "linestyle": STROKES[i // len(DISTINCT)]}
            ax.plot(at, line, linewidth=1.4, marker=marker, label=name, zorder=floor + 0.1, **look)
    if population is not None:
        middle = matching("population", population, at.shape)
        if lower is not None and upper is not None:
            limits = matching("lower", lower, at.shape), matching("upper", upper, at.shape)
            _band(ax, at, *limits, steps, floor + 0.2)
        ax.plot(at, middle, color=INK, linewidth=3, marker=marker, markersize=8, label="Population", zorder=floor + 0.3)
    ax.autoscale_view()
    if blank and 0 < len(names) <= NAMED:
        _legend(ax, values, population, outside=made)
    axes.label(ax, xlabel, ylabel)
    axes.settle(ax, made)
    if blank and note:
        axes.caption(ax, note)
    if blank and categories:
        axes.name([ax], "x", at, x, made)
        ax.set_xlim(at.min() - 0.4, at.max() + 0.4)
    return ax


def alike(curves: np.ndarray) -> bool:
    """Whether all curves, one a row, are one but for rounding."""
    apart = np.ptp(curves, axis=0)
    return bool((apart <= _ROUNDING * np.abs(curves).max(axis=0)).all())


def caterpillar(
    values: Series,
    *,
    population: float | None = None,
    lower: float | None = None,
    upper: float | None = None,
    half_width: ArrayLike | None = None,
    order: ArrayLike | None = None,
    figsize: tuple[float, float] = (8, 6),
    xlabel: str = "",
    ylabel: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw one number a group, sorted, the largest on top, with the population's as a line and a band.

    Groups are named while their names can be read, and counted when they can't. A group whose value is
    NaN is left out. On axes that hold a picture already everything goes behind it.

    Args:
        values: one value a group, indexed by group.
        population: the population's value.
        lower: lower limit of the population's value.
        upper: upper limit of the population's value.
        half_width: half the length of each group's bar, such as 1.96 standard errors; one for all, one a
            group in the order of `values`, or a Series, which is matched by index.
        order: positions of the groups in `values` from the bottom up; by default ascending values, equal ones (but
            for rounding) as given.
        figsize: inches, where a figure has to be made.
        xlabel: label of the value axis.
        ylabel: label of the group axis.
        ax: axes to draw on.

    Returns:
        The axes drawn on.

    Raises:
        DataError: where no group has a value.

    Example:
        >>> import pandas as pd
        >>> from matplotlib.figure import Figure
        >>> blups = pd.Series({"308": 253.7, "309": 211.0, "310": 212.4})
        >>> ax = caterpillar(blups, population=251.4, ax=Figure().subplots())
        >>> [tick.get_text() for tick in ax.get_yticklabels()]
        ['309', '310', '308']
    """
    middle = np.asarray(values, dtype=float)
    if not np.isfinite(middle).any():
        raise DataError("No group has a value to draw. Look at the group-level estimates of the fit.")
    order = np.argsort(settled(middle), kind="stable") if order is None else np.asarray(order, dtype=int)
    order = order[np.isfinite(middle[order])]
    rows, crowded = np.arange(order.size), order.size > MANY

    ax = axes.dress(ax, figsize, "y")
    floor, pitch = axes.floor(ax), axes.pitch(ax, "y", order.size)
    if lower is not None and upper is not None and np.isfinite([lower, upper]).all():
        ax.axvspan(lower, upper, color=INK, alpha=0.14, linewidth=0, zorder=floor + 0.1)
    if population is not None:
        ax.axvline(population, color=INK, linewidth=1.6, label="Population", zorder=floor + 0.2)
    if half_width is not None:
        half = half_width.reindex(values.index) if hasattr(half_width, "reindex") else half_width
        half = matching("half_width", np.full_like(middle, half) if np.isscalar(half) else half, middle.shape)
        ends = (middle - half)[order], (middle + half)[order]
        bars = ax.hlines(rows, *ends, colors=GROUP, zorder=floor + 0.3)
        bars.set(alpha=0.25 if crowded else 0.6, linewidth=min(2.0, pitch), rasterized=crowded)
    dots = {"markersize": float(np.clip(0.7 * pitch, 2, 7)), "markeredgewidth": 0, "rasterized": crowded}
    ax.plot(middle[order], rows, "o", color=GROUP, zorder=floor + 0.4, **dots)
    ax.set_ylim(-0.5, rows.size - 0.5)
    if pitch >= 1.25 * axes.LEAST:
        axes.name([ax], "y", rows, values.index[order])
        return axes.label(ax, xlabel, ylabel)
    ax.set_yticks([])
    return axes.label(ax, xlabel, ylabel or f"{rows.size:,} groups")


def caterpillars(
    values: DataFrame,
    se: DataFrame | None = None,
    *,
    conf_level: float = 0.95,
    order: Order = "value",
    figsize: tuple[float, float] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    ax: Axes | Sequence[Axes] | None = None,
) -> Axes | np.ndarray:
    """Draw the random effects of every group with their intervals, one panel a term.

    A bar is estimate ± z · SE with z the normal quantile, the interval of one group given the fitted
    variances; bars of two groups are not a test of their difference (Goldstein & Healy, 1995, Journal of the Royal
    Statistical Society A 158).

    Args:
        values: one row a group, one column a term.
        se: their standard errors, matched by group and term; a NaN draws no bar.
        conf_level: level of the intervals.
        order: `"value"` sorts each panel, the largest on top; `"first"` sorts all as the first, so that a row is one
            group; `"given"` keeps the order of `values`, its first group on top.
        figsize: inches of the whole figure; by default 7 wide, as a page, and as high as the panels need.
        xlabel: label of the value axes.
        ylabel: label of the group axis.
        ax: axes to draw on, one a term.

    Returns:
        The axes of a single term, or the axes of all, shape (terms,).

    Raises:
        DataError: no term, a term without any value, or standard errors of other groups.
        OptionError: another `order`, or another number of axes than of terms.

    Example:
        >>> import pandas as pd
        >>> from matplotlib.figure import Figure
        >>> blups = pd.DataFrame({"(Intercept)": [2.3, -40.4], "Days": [9.2, -8.6]}, index=["308", "309"])
        >>> panels = caterpillars(blups, blups.abs() / 4, ax=Figure().subplots(1, 2))
        >>> [panel.get_title() for panel in panels]
        ['(Intercept)', 'Days']
    """
    from scipy.special import ndtri

    one_of("order", order, get_args(Order))
    terms, count = list(values.columns), values.shape[1]
    if not count:
        raise DataError("There is no random effect to draw. The values have no column.")
    if se is not None and not (set(terms) <= set(se.columns) and set(values.index) <= set(se.index)):
        raise DataError("se lacks a group or a term of the values. Give one standard error a value.")
    places = {"first": np.argsort(settled(values.iloc[:, 0]), kind="stable")}
    places["given"] = np.arange(len(values))[::-1]
    wide = min(count, _WIDE)
    size = figsize or (7.0, 5.0 if count <= wide else 4.5 * -(-count // wide))
    drawn = axes.panels(ax, count, size, wide, "y")
    for term, panel in zip(terms, drawn, strict=True):
        half = None if se is None else ndtri((1 + conf_level) / 2) * se[term]
        caterpillar(values[term], half_width=half, order=places.get(order), ax=panel)
        panel.axvline(0, color=GUIDE, linewidth=1, dashes=(4, 3), zorder=axes.floor(panel))
        counted = panel.get_ylabel()
        panel.set_ylabel(f"{ylabel} ({counted})" if ylabel and counted else ylabel or counted)
    axes.settle(drawn[0], ax is None)
    for term, panel in zip(terms, drawn, strict=True):
        if count > 1:
            axes.write(panel, panel.title, str(term))
        if xlabel:
            axes.write(panel, panel.xaxis.label, xlabel)
    for panel in drawn[1:]:
        panel.set_ylabel("")
        if order != "value":
            panel.tick_params(labelleft=False)
    return axes.squeezed(drawn)


def _bundle(ax: Axes, at: np.ndarray, values: np.ndarray, marker: str, zorder: float) -> None:
    """Draw many lines as one artist, and their marks, if any, as a second."""
    from matplotlib.collections import LineCollection

    count = len(values)
    look = {"alpha": float(np.clip(2.6 / np.sqrt(count), 0.04, 0.6)), "zorder": zorder, "rasterized": count > MANY}
    paths = np.stack(np.broadcast_arrays(at, values), axis=-1)
    ax.add_collection(LineCollection(paths, colors=GROUP, linewidths=1.2 if count <= 100 else 0.8, **look))
    if marker:
        ax.plot(paths[..., 0].ravel(), values.ravel(), marker, color=GROUP, markersize=4, markeredgewidth=0, **look)


def _band(ax: Axes, at: np.ndarray, low: np.ndarray, high: np.ndarray, steps: bool, zorder: float) -> None:
    """Draw the population's limits: a band along a continuum, bars at categories."""
    if steps:
        ax.vlines(at, low, high, colors=INK, linewidth=2.2, zorder=zorder)
    else:
        ax.fill_between(at, low, high, color=INK, alpha=0.18, linewidth=0, zorder=zorder)


def _legend(ax: Axes, values: np.ndarray, population: ArrayLike | None, outside: bool) -> None:
    """List the groups in the order in which their lines end, top to bottom, and the population last."""
    handles = [ax.lines[i] for i in np.argsort(settled(-values[:, -1]), kind="stable")]
    handles += [] if population is None else [ax.lines[-1]]
    where = {"loc": "best"}
    if outside:
        size = min(12, 0.6 * axes.pitch(ax, "y", len(handles)))
        where = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "fontsize": size}
    for text in ax.legend(handles=handles, frameon=False, **where).get_texts():
        text.set_parse_math(False)
