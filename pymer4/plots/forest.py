"""Pictures of estimates and of groups: numbers in, axes out.

`forest` sets terms side by side, `group_lines` shows one relation in every group and in the population. As all pictures
they take arrays and frames, know nothing of models, and never show, save or close a figure: that is the caller's.

Blue is a group, black is the population. The colours are told apart by colour-blind readers (Okabe and
Ito, 2008, for the pair; Tol, 2021, "muted", for a handful of groups) and survive a grey printer. Nothing
global is touched: no rcParams, no random state, and pyplot is imported only to make a figure that was
not given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pymer4.errors import DataError, one_of
from pymer4.fit.ties import settled
from pymer4.plots import axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from pandas import DataFrame, Series

INK, GROUP, GUIDE = "#1A1A1A", "#0072B2", "#8A8A8A"
DISTINCT = ("#332288", "#CC6677", "#117733", "#88CCEE", "#882255", "#999933", "#44AA99", "#AA4499")
STROKES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
NAMED = 12  # groups that a legend names; more are counted
MANY = 500  # marks; more are pixels, not paths, in a vector file
GOLDEN = (5**0.5 - 1) / 2
_ROUNDING = 1e-9  # relative; curves closer than that are one line
_NARROW = 0.1  # share of the value axis; where all terms but one have less, they can't be read


def forest(
    estimates: Series,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    points: DataFrame | None = None,
    axlim: tuple[float, float] | None = None,
    figsize: tuple[float, float] = (12, 6),
    fmt: str = "o",
    points_alpha: float = 0.5,
    orient: str = "v",
    xlabel: str = "",
    ylabel: str = "",
    note: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw estimates with their intervals, one row a term, the first on top.

    An interval is drawn from limit to limit, so one that leaves its estimate out (a bootstrap percentile
    interval can) is shown as it is. A NaN limit draws no bar; an infinite one runs to the edge.

    Args:
        estimates: one value a term, indexed by term.
        lower: lower limits, in the order of `estimates`.
        upper: upper limits, likewise.
        points: group-level values, rows groups and columns terms, strewn behind the terms they name.
        axlim: ends of the value axis; by default all that is drawn, zero included, and a margin.
        figsize: inches, where a figure has to be made.
        fmt: matplotlib format of the estimates, such as `"o"` or `"rs"`; `"none"` draws bars alone.
        points_alpha: opacity of the points.
        orient: `"v"` lists the terms down the y axis, `"h"` along the x axis.
        xlabel: label of the value axis, whichever it is.
        ylabel: label of the term axis.
        note: written small under the x axis of axes that hold nothing yet.
        ax: axes to draw on.

    Returns:
        The axes drawn on.

    Raises:
        OptionError: for another `orient`.
        DataError: where there is no term, or the limits are not one a term.

    Example:
        >>> import pandas as pd
        >>> from matplotlib.figure import Figure
        >>> b = pd.Series({"(Intercept)": 251.41, "Days": 10.47})
        >>> ax = forest(b, [238.03, 7.44], [264.78, 13.50], ax=Figure().subplots())
        >>> [tick.get_text() for tick in ax.get_yticklabels()]
        ['(Intercept)', 'Days']
    """
    down = one_of("orient", orient, ("v", "h")) == "v"
    middle = np.asarray(estimates, dtype=float)
    if not middle.size:
        raise DataError("There is no term to draw. Keep the intercept, or add a predictor to the formula.")
    low, high = matching("lower", lower, middle.shape), matching("upper", upper, middle.shape)
    rows = np.arange(middle.size)

    axis = "y" if down else "x"
    made, ax = ax is None, axes.dress(ax, figsize, axis)
    blank = not ax.has_data()
    pitch = axes.pitch(ax, axis, rows.size)
    place, value = _strewn(points, list(estimates.index), pitch)
    ends = _span(middle, low, high, value) if axlim is None else axlim
    low, high = np.where(low == -np.inf, ends[0], low), np.where(high == np.inf, ends[1], high)
    (ax.axvline if down else ax.axhline)(0, color=GUIDE, linewidth=1, dashes=(4, 3), zorder=2.0)
    if value.size:
        dots = ax.scatter(*turned(down, value, place), color=GROUP, alpha=points_alpha, linewidths=0, zorder=2.1)
        dots.set(sizes=[_dot(len(points)) ** 2], rasterized=value.size > MANY)
    color = _markers(ax, *turned(down, middle, rows), fmt, size=min(9, 0.6 * pitch))
    (ax.hlines if down else ax.vlines)(rows, low, high, colors=color, linewidth=min(2.2, 0.3 * pitch), zorder=2.3)
    (ax.set_xlim if down else ax.set_ylim)(ends)
    ax.set(**{f"{axis}lim": (rows.size - 0.5, -0.5) if down else (-0.5, rows.size - 0.5)})
    axes.label(ax, *turned(down, xlabel, ylabel))
    if blank and note:
        axes.caption(ax, note)
    axes.name([ax], axis, rows, estimates.index, made)
    return ax


def crowding(estimates: Series, lower: ArrayLike, upper: ArrayLike, points: DataFrame | None) -> str | None:
    """Return the term that takes so much of the value axis that the others, and zero, are a dot there; or None."""
    reach = []
    for term, *values in zip(estimates.index, estimates, lower, upper, strict=True):
        values += list(points[term]) if points is not None and term in points.columns else []
        drawn = [value for value in (*values, 0.0) if np.isfinite(value)]
        reach.append((min(drawn), max(drawn)))
    low, high = np.array(reach).reshape(-1, 2).T
    if len(reach) < 2:
        return None
    widest = int(np.argmax(high - low))
    others = np.arange(len(reach)) != widest
    rest = high[others].max() - low[others].min()
    return str(estimates.index[widest]) if rest < _NARROW * (high.max() - low.min()) else None


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


def matching(name: str, values: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Return `values` as floats of that shape, or say what shape they have."""
    found = np.asarray(values, dtype=float)
    if found.shape != shape:
        raise DataError(f"{name} has shape {found.shape}, and {shape} is needed to match the rest.")
    return found


def turned(down: bool, along: object, across: object) -> tuple[object, object]:
    """Return (x, y) of what lies along the value axis and across it."""
    return (along, across) if down else (across, along)


def _span(*drawn: np.ndarray) -> tuple[float, float]:
    """Return ends that hold zero and every finite value drawn, and a twentieth more on both sides."""
    flat = np.concatenate([np.ravel(values) for values in drawn] + [np.zeros(1)])
    flat = flat[np.isfinite(flat)]
    low, high = float(flat.min()), float(flat.max())
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _strewn(points: DataFrame | None, terms: list, pitch: float) -> tuple[np.ndarray, np.ndarray]:
    """Return place and value of the points of all terms, in strips that grow with the number of points."""
    places, values = [np.empty(0)], [np.empty(0)]
    for row, term in enumerate(terms):
        if points is not None and term in points.columns:
            value = np.asarray(points[term], dtype=float)
            value = value[np.isfinite(value)]
            depth = min(0.7, min(6 * np.sqrt(value.size), 90) / pitch)
            places.append(row + depth * _spread(value))
            values.append(value)
    return np.concatenate(places), np.concatenate(values)


def _dot(count: int) -> float:
    """Return the diameter, in points, at which that many dots can be told apart."""
    return 6.0 if count <= 50 else 4.0 if count <= MANY else 2.5


def _spread(values: np.ndarray) -> np.ndarray:
    """Return offsets within half a unit that part neighbours, wider where they crowd.

    Ranks times the golden ratio, modulo one, fill the unit evenly and without chance (Weyl's sequence), so
    one set of values gives one picture, whatever its order.
    """
    values = settled(values)
    reach = np.ptp(values) if values.size else 0.0
    if reach == 0:
        return (np.arange(1, values.size + 1) * GOLDEN) % 1 - 0.5
    rank = np.argsort(np.argsort(values, kind="stable"))
    share = (values - values.min()) / reach
    bins = int(np.clip(np.sqrt(values.size), 3, 40))
    # A value on the border of two bins belongs to the upper one.
    counts = np.bincount(np.minimum((share * bins + 1e-9).astype(int), bins - 1), minlength=bins)
    crowd = np.interp(share, (np.arange(bins) + 0.5) / bins, counts / counts.max())
    return ((rank + 1) * GOLDEN % 1 - 0.5) * np.sqrt(crowd)


def _markers(ax: Axes, x: np.ndarray, y: np.ndarray, fmt: str, size: float) -> str:
    """Draw the estimates in matplotlib's format string and return their colour, black where it names none."""
    if fmt.lower() == "none":
        return INK
    from matplotlib.colors import is_color_like

    named = re.search("[bgrcmykwC]", fmt) or (is_color_like(fmt) and not fmt.isdigit())
    color = {} if named else {"color": INK}
    (line,) = ax.plot(x, y, fmt, markersize=size, zorder=2.4, **color)
    if line.get_marker() in line.filled_markers:
        line.set(markeredgecolor="white", markeredgewidth=1.2)
    return line.get_color()


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
