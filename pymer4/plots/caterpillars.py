"""One number a group, ordered, with its interval: pictures of random effects.

Groups are named while their names can be read, and counted when they can't.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from pymer4.errors import DataError, one_of
from pymer4.fit.ties import settled
from pymer4.plots import axes
from pymer4.plots.forest import GROUP, GUIDE, INK, MANY, matching

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike
    from pandas import DataFrame, Series

Order = Literal["value", "first", "given"]
"""How groups are ordered from the bottom up."""

_WIDE = 3  # panels in a row


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
        caterpillar(values[term], half_width=half, order=places.get(order), xlabel=xlabel, ax=panel)
        panel.axvline(0, color=GUIDE, linewidth=1, dashes=(4, 3), zorder=axes.floor(panel))
        counted = panel.get_ylabel()
        panel.set_ylabel(f"{ylabel} ({counted})" if ylabel and counted else ylabel or counted)
        if count > 1:
            panel.set_title(str(term), parse_math=False)
    for panel in drawn[1:]:
        panel.set_ylabel("")
        if order != "value":
            panel.tick_params(labelleft=False)
    return axes.squeezed(drawn)
