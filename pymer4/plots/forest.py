"""Pictures of estimates: terms one above another, and a difference beside a range of equivalence.

As all pictures they take numbers, know nothing of models, and never show, save or close a figure: that is the caller's.
Blue is a group, black is the population. The colours are told apart by colour-blind readers (Okabe and
Ito, 2008, for the pair; Tol, 2021, "muted", for a handful of groups) and survive a grey printer. Nothing
global is touched: no rcParams, no random state, and pyplot is imported only to make a figure that was
not given.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from pymer4.errors import DataError, one_of, shown
from pymer4.fit.ties import settled
from pymer4.plots import axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from pandas import DataFrame, Series

INK, GROUP, GUIDE = "#1A1A1A", "#0072B2", "#8A8A8A"
DISTINCT = ("#332288", "#CC6677", "#117733", "#88CCEE", "#882255", "#999933", "#44AA99", "#AA4499")
STROKES = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
MANY = 500  # marks; more are pixels, not paths, in a vector file
GOLDEN = (5**0.5 - 1) / 2
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


def equivalence(
    difference: float,
    inner: ArrayLike,
    outer: ArrayLike,
    bounds: tuple[float, float],
    *,
    verdict: str = "",
    outer_label: str = "95 % interval",
    figsize: tuple[float, float] = (7, 3),
    xlabel: str = "Mean difference",
    ax: Axes | None = None,
) -> Axes:
    """Draw a difference and two intervals of it beside the range of equivalence.

    The range is a band. The means are equivalent when the thick bar lies within it.

    Args:
        difference: the estimate.
        inner: limits that decide, shape (2,): the 90 % t interval for two one-sided t tests at .05; the thick bar.
        outer: limits of another interval, shape (2,); the thin bar with ends.
        bounds: the range of equivalence.
        verdict: text above the picture.
        outer_label: what `outer` is.
        figsize: inches, where a figure has to be made.
        xlabel: label of the value axis.
        ax: axes to draw on.

    Returns:
        The axes drawn on.

    Raises:
        DataError: limits or bounds that are not two finite numbers.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = equivalence(0.1, [-0.2, 0.4], [-0.3, 0.5], (-0.5, 0.5), ax=Figure().subplots())
        >>> ax.get_xlabel()
        'Mean difference'
    """
    inner, outer, bounds = (_two(name, v) for name, v in (("inner", inner), ("outer", outer), ("bounds", bounds)))
    ax = axes.dress(ax, figsize, "y")
    ax.axvspan(*bounds, color=GROUP, alpha=0.12, linewidth=0, zorder=2.0, label="Range of equivalence")
    for bound in bounds:
        ax.axvline(bound, color=GROUP, linewidth=1.4, zorder=2.1)
    ax.axvline(0, color=GUIDE, linewidth=1, dashes=(4, 3), zorder=2.2)
    ax.hlines(0, *inner, colors=INK, linewidth=6, zorder=2.4, label="90 % t interval")
    # Of few numbers the bootstrap interval is short, and may end within the other.
    ax.plot(outer, [0, 0], "|-", color=INK, linewidth=1.6, markersize=14, zorder=2.3, label=outer_label)
    look = {"markeredgecolor": "white", "markeredgewidth": 1.2, "markersize": 10, "zorder": 2.5}
    ax.plot([difference], [0], "o", color=INK, label="Difference", **look)
    ends = np.array([*bounds, *inner, *outer, difference, 0.0])
    margin = 0.06 * np.ptp(ends)
    ax.set(xlim=(ends.min() - margin, ends.max() + margin), ylim=(-0.5, 0.5), yticks=[])
    ax.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=4,
        frameon=False,
        columnspacing=1.0,
        handlelength=1.3,
        handletextpad=0.5,
        fontsize="small",
    )
    ax.set_title(verdict, fontsize="x-large", pad=34)
    return axes.label(ax, xlabel, "")


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


def _two(name: str, values: ArrayLike) -> np.ndarray:
    found = np.asarray(values, dtype=float)
    if found.shape != (2,) or not np.isfinite(found).all():
        raise DataError(f"{name}={shown(values)} has to be two finite numbers, the lower and the upper.")
    return found
