"""Pictures of estimates: terms one above another, and a difference beside a range of equivalence.

As all pictures they take numbers, know nothing of models, and never show, save or close a figure: that is the caller's.
No rcParams and no random state are touched, and pyplot is imported only to make a figure that was not given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pymer4.errors import DataError, one_of
from pymer4.fit.ties import settled
from pymer4.plots import axes
from pymer4.plots.axes import GROUP, INK, MANY, Frame, turned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from pandas import DataFrame, Series
    from typing_extensions import Unpack

_GOLDEN = (5**0.5 - 1) / 2
_NARROW = 0.1  # share of the value axis; where all terms but one have less, they can't be read


def forest(
    estimates: Series,
    lower: ArrayLike,
    upper: ArrayLike,
    *,
    points: DataFrame | None = None,
    axlim: tuple[float, float] | None = None,
    fmt: str = "o",
    points_alpha: float = 0.5,
    orient: str = "v",
    note: str = "",
    **frame: Unpack[Frame],
) -> Axes:
    """Draw estimates with their intervals, one row a term, the first on top.

    An interval is drawn from limit to limit, so one that leaves its estimate out (a bootstrap percentile
    interval can) is shown as it is. A NaN limit draws no bar; an infinite one runs to the edge. `points` are values of
    groups, a row each, strewn behind the terms that the columns name. `axlim` ends the value axis, by default all that
    is drawn, zero included, and a margin. `orient` "v" lists the terms down the y axis, "h" along the x axis. The note
    is written under the x axis of axes that hold nothing yet.
    """
    down = one_of("orient", orient, ("v", "h")) == "v"
    middle, low, high = (np.asarray(values, dtype=float) for values in (estimates, lower, upper))
    if not middle.size:
        raise DataError("There is no term to draw. Keep the intercept, or add a predictor to the formula.")
    rows = np.arange(middle.size)

    axis = "y" if down else "x"
    ax, made = axes.dress(frame, axis)
    blank, pitch = not ax.has_data(), axes.pitch(ax, axis, rows.size)
    place, value = _strewn(points, list(estimates.index), pitch)
    ends = _span(middle, low, high, value) if axlim is None else axlim
    low, high = np.where(low == -np.inf, ends[0], low), np.where(high == np.inf, ends[1], high)
    axes.guide(ax, 0, down)
    if points is not None and value.size:
        size = 6.0 if len(points) <= 50 else 4.0 if len(points) <= MANY else 2.5
        dots = ax.scatter(*turned(down, value, place), color=GROUP, alpha=points_alpha, linewidths=0, zorder=2.1)
        dots.set(sizes=[size**2], rasterized=value.size > MANY)
    color = _markers(ax, *turned(down, middle, rows), fmt, size=min(9, 0.6 * pitch))
    (ax.hlines if down else ax.vlines)(rows, low, high, colors=color, linewidth=min(2.2, 0.3 * pitch), zorder=2.3)
    across = (rows.size - 0.5, -0.5) if down else (-0.5, rows.size - 0.5)
    ax.set(**dict(zip(("xlim", "ylim"), turned(down, ends, across), strict=True)))
    axes.label(ax, frame)
    if blank and note:
        axes.caption(ax, note)
    axes.name([ax], axis, rows, estimates.index, made)
    return ax


def crowding(estimates: Series, lower: ArrayLike, upper: ArrayLike, points: DataFrame | None) -> str | None:
    """Return the term that takes so much of the value axis that the others, and zero, are a dot there; or None."""
    if len(estimates) < 2:
        return None
    strewn = np.zeros((len(estimates), 1)) if points is None else points.T.reindex(estimates.index)
    drawn = _finite(np.column_stack([estimates, lower, upper, strewn]))
    low, high = drawn.min(axis=1, initial=0), drawn.max(axis=1, initial=0)
    widest = int(np.argmax(high - low))
    others = np.arange(len(low)) != widest
    rest = high[others].max() - low[others].min()
    return str(estimates.index[widest]) if rest < _NARROW * (high.max() - low.min()) else None


def equivalence(
    difference: float,
    inner: Sequence[float] | np.ndarray,
    outer: Sequence[float] | np.ndarray,
    bounds: tuple[float, float],
    *,
    verdict: str = "",
    outer_label: str = "95 % interval",
    **frame: Unpack[Frame],
) -> Axes:
    """Draw a difference and two intervals of it beside the range of equivalence, a band.

    The means are equivalent when the thick bar lies within it: `inner`, the limits of the 90 % t interval for two
    one-sided tests at .05. The thin bar with ends is `outer`, as `outer_label` says. The verdict stands above.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = equivalence(0.1, [-0.2, 0.4], [-0.3, 0.5], (-0.5, 0.5), ax=Figure().subplots())
        >>> ax.get_xlabel()
        'Mean difference'
    """
    ax, _ = axes.dress(frame, "y", (7, 3))
    ax.axvspan(*bounds, color=GROUP, alpha=0.12, linewidth=0, zorder=2.0, label="Range of equivalence")
    for bound in bounds:
        ax.axvline(bound, color=GROUP, linewidth=1.4, zorder=2.1)
    axes.guide(ax, 0, zorder=2.2)
    ax.hlines(0, *inner, colors=INK, linewidth=6, zorder=2.4, label="90 % t interval")
    # Of few numbers the bootstrap interval is short, and may end within the other.
    ax.plot(outer, [0, 0], "|-", color=INK, linewidth=1.6, markersize=14, zorder=2.3, label=outer_label)
    look = {"markeredgecolor": "white", "markeredgewidth": 1.2, "markersize": 10, "zorder": 2.5}
    ax.plot([difference], [0], "o", color=INK, label="Difference", **look)
    ends = np.array([*bounds, *inner, *outer, difference, 0.0])
    margin = 0.06 * np.ptp(ends)
    ax.set(xlim=(ends.min() - margin, ends.max() + margin), ylim=(-0.5, 0.5), yticks=[])
    room = {"columnspacing": 1.0, "handlelength": 1.3, "handletextpad": 0.5, "fontsize": "small"}
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False, **room)
    ax.set_title(verdict, fontsize="x-large", pad=34)
    return axes.label(ax, {"xlabel": "Mean difference"})


def _finite(drawn: np.ndarray) -> np.ndarray:
    """Return numbers with zero, to which every axis reaches, in the place of those that are not finite."""
    return np.where(np.isfinite(drawn), drawn, 0.0)


def _span(*drawn: np.ndarray) -> tuple[float, float]:
    """Return ends that hold zero and every finite value drawn, and a twentieth more on both sides."""
    flat = _finite(np.concatenate(drawn))
    low, high = float(flat.min(initial=0)), float(flat.max(initial=0))
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _strewn(points: DataFrame | None, terms: list[Any], pitch: float) -> tuple[np.ndarray, np.ndarray]:
    """Return place and value of the points of all terms, in strips that grow with the number of points."""
    places, values = [np.empty(0)], [np.empty(0)]
    for row, term in enumerate(terms):
        value = np.asarray(points[term] if points is not None and term in points else [], dtype=float)
        value = value[np.isfinite(value)]
        if value.size:
            depth = min(0.7, min(6 * np.sqrt(value.size), 90) / pitch)
            places.append(row + depth * _spread(value))
            values.append(value)
    return np.concatenate(places), np.concatenate(values)


def _spread(values: np.ndarray) -> np.ndarray:
    """Return offsets within half a unit that part neighbours, wider where they crowd.

    Ranks times the golden ratio, modulo one, fill the unit evenly and without chance (Weyl's sequence), so
    one set of values gives one picture, whatever its order.
    """
    values = settled(values)
    rank = np.argsort(np.argsort(values, kind="stable"))
    share = (values - values.min()) / (np.ptp(values) or 1.0)
    # A value on the border of two bins belongs to the upper one.
    counts, edges = np.histogram(share + 1e-9, int(np.clip(np.sqrt(values.size), 3, 40)), (0, 1 + 2e-9))
    crowd = np.interp(share, (edges[1:] + edges[:-1]) / 2, counts / counts.max())
    return ((rank + 1) * _GOLDEN % 1 - 0.5) * np.sqrt(crowd)


def _markers(ax: Axes, x: np.ndarray, y: np.ndarray, fmt: str, size: float) -> Any:
    """Draw the estimates in matplotlib's format string and return their colour, black where it names none."""
    if fmt.lower() == "none":
        return INK
    from matplotlib.colors import is_color_like

    named = re.search("[bgrcmykwC]", fmt) or (is_color_like(fmt) and not fmt.isdigit())
    (line,) = ax.plot(x, y, fmt, markersize=size, zorder=2.4, **({} if named else {"color": INK}))
    if line.get_marker() in line.filled_markers:
        line.set(markeredgecolor="white", markeredgewidth=1.2)
    return line.get_color()
