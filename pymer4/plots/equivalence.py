"""A picture of an equivalence test: numbers in, axes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pymer4.errors import DataError, shown
from pymer4.plots import axes
from pymer4.plots.forest import GROUP, GUIDE, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike


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


def _two(name: str, values: ArrayLike) -> np.ndarray:
    found = np.asarray(values, dtype=float)
    if found.shape != (2,) or not np.isfinite(found).all():
        raise DataError(f"{name}={shown(values)} has to be two finite numbers, the lower and the upper.")
    return found
