"""Pictures of groups: one line a group along a predictor, or one number a group, in order, with its interval.

Groups are named while their names can be read, and counted when they can't. On axes that hold a picture already
everything goes behind it, and legend and dress are left as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from pymer4.errors import DataError, one_of
from pymer4.fit.ties import settled
from pymer4.plots import axes
from pymer4.plots.axes import DISTINCT, GROUP, INK, MANY, STROKES, Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from pandas import DataFrame, Series
    from typing_extensions import Unpack

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
    limits: tuple[ArrayLike, ArrayLike] | None = None,
    note: str = "",
    **frame: Unpack[Frame],
) -> Axes:
    """Draw one thin line a group, and the population's, thick, with the band of its limits, lower and upper.

    Up to twelve groups get a colour, or a kind of line, and a legend entry each. More are drawn as one collection in
    one colour, the lighter the more there are, and as pixels in a vector file from 500 on. `curves` has a row a group
    and a column an `x`; NaN leaves a gap. Where `x` are categories, values are marked and joined, and the population's
    limits are bars, as nothing lies between them. The note is written under the x axis of axes that hold nothing yet.
    """
    names, values = [str(label) for label in labels], np.asarray(curves, dtype=float)
    ax, made = axes.dress(frame)
    blank, floor = not ax.has_data(), axes.floor(ax)
    at, categories = _places(ax, x)
    steps = categories or len(at) == 1
    marker = "o" if steps else ""
    if len(names) > NAMED:
        _bundle(ax, at, values, marker, floor + 0.1)
    else:
        for i, (line, name) in enumerate(zip(values, names, strict=True)):
            look: dict[str, Any] = {"color": DISTINCT[i % len(DISTINCT)], "linestyle": STROKES[i // len(DISTINCT)]}
            ax.plot(at, line, linewidth=1.4, marker=marker, label=name, zorder=floor + 0.1, **look)
    if limits is not None and steps:
        ax.vlines(at, *limits, colors=INK, linewidth=2.2, zorder=floor + 0.2)
    elif limits is not None:
        ax.fill_between(at, *limits, color=INK, alpha=0.18, linewidth=0, zorder=floor + 0.2)
    if population is not None:
        look = {"linewidth": 3, "marker": marker, "markersize": 8}
        ax.plot(at, population, color=INK, label="Population", zorder=floor + 0.3, **look)
    ax.autoscale_view()
    if blank and 0 < len(names) <= NAMED:
        _legend(ax, values, population is not None, outside=made)
    axes.label(ax, frame)
    if blank and note:
        axes.caption(ax, note)
    if blank and categories:
        axes.name([ax], "x", at, list(x), made)
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
    limits: tuple[float, float] | None = None,
    half_width: np.ndarray | None = None,
    order: np.ndarray | None = None,
    **frame: Unpack[Frame],
) -> Axes:
    """Draw one number a group, sorted, the largest on top, with the population's as a line and a band.

    A group whose value is NaN is left out. `half_width` is half the length of each group's bar, in the order of
    `values`, such as 1.96 standard errors. `order` are positions in `values` from the bottom up; by default values
    ascend, and equal ones, but for rounding, stand as given.
    """
    middle = np.asarray(values, dtype=float)
    if not np.isfinite(middle).any():
        raise DataError("No group has a value to draw. Look at the group-level estimates of the fit.")
    order = np.argsort(settled(middle), kind="stable") if order is None else order
    order = order[np.isfinite(middle[order])]
    rows, crowded = np.arange(order.size), order.size > MANY

    ax, _ = axes.dress(frame, "y")
    floor, pitch = axes.floor(ax), axes.pitch(ax, "y", order.size)
    if limits is not None and np.isfinite(limits).all():
        ax.axvspan(*limits, color=INK, alpha=0.14, linewidth=0, zorder=floor + 0.1)
    if population is not None:
        ax.axvline(population, color=INK, linewidth=1.6, label="Population", zorder=floor + 0.2)
    if half_width is not None:
        ends = (middle - half_width)[order], (middle + half_width)[order]
        look = {"alpha": 0.25 if crowded else 0.6, "linewidth": min(2.0, pitch), "rasterized": crowded}
        ax.hlines(rows, *ends, colors=GROUP, zorder=floor + 0.3, **look)
    dots = {"markersize": float(np.clip(0.7 * pitch, 2, 7)), "markeredgewidth": 0, "rasterized": crowded}
    ax.plot(middle[order], rows, "o", color=GROUP, zorder=floor + 0.4, **dots)
    ax.set_ylim(-0.5, rows.size - 0.5)
    if pitch >= 1.25 * axes.LEAST:
        axes.name([ax], "y", rows, values.index[order])
        return axes.label(ax, frame)
    ax.set_yticks([])
    counted, called = f"{rows.size:,} groups", frame.get("ylabel")
    return axes.label(ax, {**frame, "ylabel": f"{called} ({counted})" if called else counted})


def caterpillars(
    values: DataFrame, se: DataFrame, *, conf_level: float = 0.95, order: Order = "value", **frame: Unpack[Frame]
) -> Axes | np.ndarray:
    """Draw the random effects of every group with their intervals, one panel a term (a column of `values`).

    A bar is estimate ± z · SE with z the normal quantile, the interval of one group given the fitted
    variances; bars of two groups are not a test of their difference (Goldstein & Healy, 1995, Journal of the Royal
    Statistical Society A 158). Standard errors are matched by group and term; a NaN draws no bar. `order` "value"
    sorts each panel, the largest on top, "first" all as the first, so that a row is one group; "given" keeps the order
    of `values`, its first group on top. Return the axes of a single term, or those of all, shape (terms,).
    """
    from scipy.special import ndtri

    one_of("order", order, get_args(Order))
    terms = list(values.columns)
    places = {"first": np.argsort(settled(values.iloc[:, 0]), kind="stable"), "given": np.arange(len(values))[::-1]}
    wide = min(len(terms), _WIDE)
    size = frame.get("figsize") or (7.0, 5.0 if len(terms) <= wide else 4.5 * -(-len(terms) // wide))
    ax = frame.get("ax")
    drawn = axes.panels(ax, len(terms), size, wide, "y")
    for term, panel in zip(terms, drawn, strict=True):
        half = ndtri((1 + conf_level) / 2) * se.loc[values.index, term].to_numpy()
        called = frame.get("ylabel", "") if panel is drawn[0] else ""
        caterpillar(values[term], half_width=half, order=places.get(order), ax=panel, ylabel=called)
        axes.guide(panel, 0, zorder=axes.floor(panel))
    axes.settle(drawn[0], ax is None)
    for term, panel in zip(terms, drawn, strict=True):
        if len(terms) > 1:
            axes.write(panel, panel.title, str(term))
        if frame.get("xlabel"):
            axes.write(panel, panel.xaxis.label, frame["xlabel"])
    for panel in drawn[1:]:
        panel.set_ylabel("")
        if order != "value":
            panel.tick_params(labelleft=False)
    return axes.squeezed(drawn)


def _places(ax: Axes, x: Any) -> tuple[np.ndarray, bool]:
    """Return places on the x axis, and whether they are categories, which the axis places beside those it has."""
    if not any(isinstance(value, str) for value in x):
        return np.asarray(x, dtype=float), False
    names = [str(value) for value in x]
    ax.xaxis.update_units(names)
    return np.asarray(ax.convert_xunits(names), dtype=float), True


def _bundle(ax: Axes, at: np.ndarray, values: np.ndarray, marker: str, zorder: float) -> None:
    """Draw many lines as one artist, and their marks, if any, as a second."""
    from matplotlib.collections import LineCollection

    count = len(values)
    look = {"alpha": float(np.clip(2.6 / np.sqrt(count), 0.04, 0.6)), "zorder": zorder, "rasterized": count > MANY}
    paths = np.stack(np.broadcast_arrays(at, values), axis=-1)
    ax.add_collection(LineCollection(paths, colors=GROUP, linewidths=1.2 if count <= 100 else 0.8, **look))
    if marker:
        ax.plot(paths[..., 0].ravel(), values.ravel(), marker, color=GROUP, markersize=4, markeredgewidth=0, **look)


def _legend(ax: Axes, values: np.ndarray, with_population: bool, outside: bool) -> None:
    """List the groups in the order in which their lines end, top to bottom, and the population last."""
    handles = [ax.lines[i] for i in np.argsort(settled(-values[:, -1]), kind="stable")]
    handles += [ax.lines[-1]] if with_population else []
    where: dict[str, Any] = {"loc": "best"}
    if outside:
        size = min(12, 0.6 * axes.pitch(ax, "y", len(handles)))
        where = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5), "fontsize": size}
    axes.literal(ax.legend(handles=handles, frameon=False, **where))
